import re
from typing import get_type_hints

import pytest
import tyro

from isomax_jax.cli import config as module
from isomax_jax.jobs.setup import make_model, make_setup
from isomax_jax.training import (
  DataConfig,
  ModelConfig,
  ObjectiveConfig,
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
    objective=ObjectiveConfig(name="acet", steps=3),
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
    assert make_model(config, make_setup(config)).zero_init_residual is on


def test_help_shows_short_names_and_what_stands_for_values(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "120")
  shown = help_of(capsys, registry=module.OPTIONS)
  for short, long in SHORT.items():
    name, value = short.split()
    assert f"{name} {value}, {long} {value}" in shown
  assert "--objective.outliers SET" in shown


def test_nothing_else_of_the_help_is_changed(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "120")
  plain, shown = help_of(capsys), help_of(capsys, registry=module.OPTIONS)
  for short in SHORT:
    shown = shown.replace(f"{short}, ", "")
  plain, shown = (re.sub(r" (\{None\}\|)?(STR|SET|NAME)\b", "", text) for text in (plain, shown))
  assert [line.strip("│ ") for line in shown.splitlines()] == [
    line.strip("│ ") for line in plain.splitlines()
  ]


@pytest.mark.parametrize(
  "annotated", [module._Data, module._Model, module._Objective, module._Optim]
)
def test_what_is_annotated_is_an_option_of_the_config(annotated):
  base = annotated.__base__
  assert set(annotated.__annotations__) <= set(base.__dataclass_fields__)
  assert get_type_hints(annotated) == get_type_hints(base)


def test_unknown_options_are_errors(capsys):
  with pytest.raises(SystemExit) as stop:
    parse("--depth", "3")
  assert stop.value.code == 2
  assert "--depth" in capsys.readouterr().err
