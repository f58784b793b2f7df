"""The registry of objectives: every option has one owner, and a default."""

import dataclasses
import inspect
from typing import ClassVar

import pytest

from isomax_jax import _registry
from isomax_jax.training import (
  OBJECTIVES,
  Acet,
  Classification,
  FractionalProbability,
  ObjectiveConfig,
  OutlierExposure,
  TrainConfig,
  create_objective_config,
  from_json,
  to_json,
)


@pytest.fixture(autouse=True)
def restored(monkeypatch):
  """Forget afterwards what a test registers."""
  monkeypatch.setattr(_registry, "_ADDED", [])
  monkeypatch.setattr(OBJECTIVES, "_entries", dict(OBJECTIVES))


def make(name, **options):
  """Make the class of an objective with options and their defaults, if they have any."""
  fields = [
    (option, float) if default is None else (option, float, dataclasses.field(default=default))
    for option, default in options.items()
  ]
  return dataclasses.make_dataclass(
    name.title(), fields, bases=(ObjectiveConfig,), frozen=True, kw_only=True,
    namespace={"name": name, "label": f"the {name}", "make": Classification.make},
  )  # fmt: skip


def test_the_objectives_of_the_library():
  assert dict(OBJECTIVES) == {
    "classification": Classification,
    "fractional_probability": FractionalProbability,
    "outlier_exposure": OutlierExposure,
    "acet": Acet,
  }
  assert {name: each.rows for name, each in OBJECTIVES.items() if each.rows != 1} == {
    "fractional_probability": 8
  }
  assert len({each.label for each in OBJECTIVES.values()}) == len(OBJECTIVES)
  assert all(inspect.getdoc(each) for each in OBJECTIVES.values())
  assert [each().outliers for each in (Classification, FractionalProbability, Acet)] == [None] * 3
  assert OutlierExposure(outliers="letters").outliers == "letters"


def test_what_is_registered_is_a_part_of_configs():
  mine = make("mine", sharpness=0.5)
  OBJECTIVES.register(mine)
  OBJECTIVES.register(mine)
  config = TrainConfig(objective=create_objective_config("mine", {"sharpness": 0.25}))
  assert config.objective == mine(sharpness=0.25)
  assert to_json(config)["objective"] == {"name": "mine", "sharpness": 0.25}
  assert from_json(to_json(config)) == config
  message = "objective.sharpness is an option of mine, got 0.25 with acet"
  with pytest.raises(ValueError, match=message):
    create_objective_config("acet", {"sharpness": 0.25})


@pytest.mark.parametrize(
  ("option", "owner"),
  [("steps", "acet"), ("epsilon", "acet"), ("outlier_weight", "outlier_exposure")],
)
def test_an_option_that_has_an_owner_is_refused(option, owner):
  message = (
    f"^objective 'mine': {owner} has an option '{option}' already; choose another name for it$"
  )
  with pytest.raises(ValueError, match=message):
    OBJECTIVES.register(make("mine", **{option: 0.5}))
  assert "mine" not in OBJECTIVES
  assert _registry.added() == []


def test_an_option_without_a_default_is_refused():
  with pytest.raises(
    ValueError, match=r"^objective 'mine': option 'sharpness' must have a default$"
  ):
    OBJECTIVES.register(make("mine", sharpness=None))
  assert "mine" not in OBJECTIVES
  assert _registry.added() == []


def test_an_objective_that_makes_none_is_refused():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Empty(ObjectiveConfig):
    name = label = "empty"

  with pytest.raises(ValueError, match=r"^objective 'empty' must have a method make$"):
    OBJECTIVES.register(Empty)
  assert "empty" not in OBJECTIVES


def test_what_is_no_objective_is_refused():
  class Plain(Acet):
    name = "plain"
    epsilon: float = 0.5

  nameless = dataclasses.make_dataclass(
    "Nameless", [], bases=(ObjectiveConfig,), frozen=True, namespace={"make": Acet.make}
  )
  for entry, error, message in (
    (None, TypeError, "^an objective must be a subclass of ObjectiveConfig, got None$"),
    ("acet", TypeError, "^an objective must be a subclass of ObjectiveConfig, got 'acet'$"),
    (Plain, ValueError, "^objective 'plain' must be a dataclass$"),
    (nameless, ValueError, "^Nameless must have a name, a string$"),
    (make("mine", rows=3.0), ValueError, "^rows must be a positive integer, got 3.0$"),
    (make("mine", label=3.0), ValueError, "^Mine must have a label, a string$"),
  ):
    with pytest.raises(error, match=message):
      OBJECTIVES.register(entry)
  assert len(OBJECTIVES) == 4


def test_several_may_learn_from_outliers():
  mine = dataclasses.make_dataclass(
    "Mine", [("outliers", str | None, dataclasses.field(default=None))], bases=(ObjectiveConfig,),
    frozen=True, kw_only=True, namespace={"name": "mine", "label": "mine", "make": Acet.make},
  )  # fmt: skip
  OBJECTIVES.register(mine)
  for name in ("mine", "outlier_exposure"):
    config = TrainConfig(objective=create_objective_config(name, {"outliers": "letters"}))
    assert config.objective.outliers == "letters"
    assert from_json(to_json(config)) == config
  with pytest.raises(
    ValueError, match=r"objective\.outliers is an option of outlier_exposure, got "
  ):
    create_objective_config("acet", {"outliers": "letters"})


def test_another_of_the_same_name_is_refused():
  with pytest.raises(ValueError, match="another objective has the name 'acet'"):
    OBJECTIVES.register(make("acet"))
  assert OBJECTIVES["acet"] is Acet


def test_json_has_an_objectives_own_options():
  for objective, options in (
    (Classification(), {}),
    (FractionalProbability(), {}),
    (OutlierExposure(outliers="letters"), {"outliers": "letters", "outlier_weight": 0.5}),
    (Acet(steps=3), {"epsilon": 0.3, "steps": 3}),
  ):
    values = to_json(TrainConfig(objective=objective))["objective"]
    assert values == {"name": objective.name, **options}


def test_json_may_hold_options_of_others_at_their_defaults():
  """As configs of before did, which had the options of all."""
  others = {"outliers": None, "outlier_weight": 0.5, "epsilon": 0.3, "steps": 40}
  for name in ("classification", "fractional_probability", "acet"):
    values = {"objective": {"name": name, **others}}
    assert from_json(values).objective == OBJECTIVES[name]()
  values = {"objective": {"name": "outlier_exposure", **others, "outliers": "letters"}}
  assert from_json(values).objective == OutlierExposure(outliers="letters")
  for option, value in (("outliers", "letters"), ("outlier_weight", 0.25)):
    values = {"objective": {"name": "acet", **others, option: value}}
    with pytest.raises(ValueError, match=f"objective.{option} is an option of outlier_exposure"):
      from_json(values)


def test_an_unknown_option_lists_the_known_ones():
  message = (
    "^unknown options in objective: colour; known: name, outliers, outlier_weight, epsilon, steps$"
  )
  with pytest.raises(ValueError, match=message):
    create_objective_config("acet", {"colour": 1})
  with pytest.raises(ValueError, match=message):
    from_json({"objective": {"colour": 1}})


def test_names_are_of_the_class():
  for each in OBJECTIVES.values():
    assert each.__annotations__["name"] == ClassVar[str]
    assert {"name", "label", "rows"}.isdisjoint(f.name for f in dataclasses.fields(each))
