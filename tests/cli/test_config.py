import dataclasses
import re
from typing import ClassVar, get_type_hints

import pytest
import tyro

from isomax_jax import _registry
from isomax_jax.cli import config as module
from isomax_jax.runs.known_set import find_known_set
from isomax_jax.runs.network import make_network
from isomax_jax.training import (
  OBJECTIVES,
  Acet,
  Classification,
  DataConfig,
  ModelConfig,
  OptimConfig,
  TrainConfig,
)


def parse(*arguments):
  return tyro.cli(TrainConfig, args=arguments, registry=module.OPTIONS)


def help_of(capsys, **options):
  with pytest.raises(SystemExit):
    tyro.cli(TrainConfig, args=["--help"], prog="train", **options)
  return capsys.readouterr().out


SHORT = {
  "--data SET": "--data.name",
  "--model NAME": "--model.name",
  "--head NAME": "--model.head",
  "--objective NAME": "--objective.name",
  "--epochs INT": "--optim.epochs",
}


def test_short_names_set_the_config_itself():
  parsed = parse(
    "--data", "letters", "--model", "resnet34", "--head", "softmax", "--epochs", "7",
    "--objective", "acet", "--objective.steps", "3", "--seed", "5",
  )  # fmt: skip
  assert parsed == TrainConfig(
    data=DataConfig(name="letters"),
    model=ModelConfig(name="resnet34", head="softmax"),
    objective=Acet(steps=3),
    optim=OptimConfig(epochs=7),
    seed=5,
  )
  assert parse() == TrainConfig()


def test_long_names_do_too():
  assert parse("--optim.epochs", "2", "--data.name", "photos") == TrainConfig(
    data=DataConfig(name="photos"), optim=OptimConfig(epochs=2)
  )


def test_the_start_of_residual_blocks_reaches_the_network():
  for words, on in (((), False), (("--model.zero-init-residual",), True)):
    config = parse("--model", "resnet_small", *words)
    assert make_network(config, find_known_set(config)).zero_init_residual is on


def test_help_shows_short_names_and_what_stands_for_values(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "120")
  shown = help_of(capsys, registry=module.OPTIONS)
  for short, long in SHORT.items():
    name, value = short.split()
    assert f"{name} {value}, {long} {value}" in shown
  assert "--objective.outliers SET" in shown


def test_help_lists_what_a_name_may_be(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "120")
  shown = help_of(capsys, registry=module.OPTIONS)
  for line in (
    "Network: small_cnn, resnet_small, resnet34, densenet_bc_100 or wide_resnet_28_10.",
    "Head: softmax, isomax, isomax_plus or dismax.",
    "Objective: classification, fractional_probability, outlier_exposure or acet.",
    "acet: steps of the search, each a forward and a backward pass. (default: 40)",
  ):
    assert line in shown


def test_nothing_else_of_the_help_is_changed(capsys, monkeypatch):
  """Without ours tyro finds no options of the objective, and no names."""
  monkeypatch.setenv("COLUMNS", "120")
  plain, shown = help_of(capsys), help_of(capsys, registry=module.OPTIONS)
  section = re.compile(r"^\W*objective options.*?(?=^\W*optim options)", re.DOTALL | re.MULTILINE)
  shown, boxes = section.subn("", shown)
  shown, lists = re.subn(r"(Network|Head): .*? or \w+\.", r"\1.", shown)
  assert (boxes, lists) == (1, 2)
  for short in SHORT:
    shown = shown.replace(f"{short}, ", "")
  plain, shown = (re.sub(r" (\{None\}\|)?(STR|SET|NAME)\b", "", text) for text in (plain, shown))
  assert [line.strip("│ ") for line in shown.splitlines()] == [
    line.strip("│ ") for line in plain.splitlines()
  ]


@pytest.mark.parametrize("annotated", [module._Data, module._Model, module._Optim])
def test_what_is_annotated_is_an_option_of_the_config(annotated):
  base = annotated.__base__
  assert set(annotated.__annotations__) <= set(base.__dataclass_fields__)
  assert get_type_hints(annotated) == get_type_hints(base)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=lambda each: each.name)
def test_each_option_of_an_objective_is_one_of_the_command(objective):
  values = {"outliers": "letters", "outlier_weight": 0.25, "epsilon": 0.125, "steps": 3}
  fields = [field.name for field in dataclasses.fields(objective)]
  words = [
    word
    for field in fields
    for word in (f"--objective.{field.replace('_', '-')}", str(values[field]))
  ]
  expected = objective(**{field: values[field] for field in fields})
  assert parse("--objective", objective.name, *words).objective == expected


@dataclasses.dataclass(frozen=True, kw_only=True)
class Smoothed(Classification):
  """Smoothed labels."""

  name: ClassVar[str] = "smoothed"
  label: ClassVar[str] = "smoothed labels"

  smoothing: float = 0.1
  """Share of the other classes."""


def test_what_is_registered_has_its_options_too(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "120")
  monkeypatch.setattr(_registry, "_ADDED", [])
  monkeypatch.setattr(OBJECTIVES, "_entries", dict(OBJECTIVES))
  OBJECTIVES.register(Smoothed)
  parsed = parse("--objective", "smoothed", "--objective.smoothing", "0.2")
  assert parsed == TrainConfig(objective=Smoothed(smoothing=0.2))
  shown = help_of(capsys, registry=module.OPTIONS)
  assert "outlier_exposure, acet or smoothed. (default" in shown
  assert "smoothed: share of the other classes. (default: 0.1)" in shown


def test_an_option_of_another_objective_is_refused(capsys):
  with pytest.raises((SystemExit, ValueError)):
    parse("--objective", "acet", "--objective.outlier-weight", "0.25")


def test_unknown_options_are_errors(capsys):
  with pytest.raises(SystemExit) as stop:
    parse("--depth", "3")
  assert stop.value.code == 2
  assert "--depth" in capsys.readouterr().err
