"""The programs that a training compiles: the same ones for runs of any length."""

import dataclasses

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from isomax_jax.runs import train
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig, devices


class Lowered(Exception):  # noqa: N818
  """Ends a training before its first program is compiled."""


@pytest.fixture
def lower_train(tmp_path, digits_dir, monkeypatch):
  """Return a function of a config to the text of the program that its training compiles first."""

  def spread(*arguments, **options):
    runner = devices.spread(*arguments, **options)

    def lower(*arguments):
      raise Lowered(runner.lower(*arguments).as_text())

    return runner._replace(lower=lower)

  monkeypatch.setattr("isomax_jax.runs._train.spread", spread)

  def lower(config):
    with pytest.raises(Lowered) as lowered:
      train(config, tmp_path / "run", data_dir=digits_dir, fresh=True)
    return str(lowered.value)

  return lower


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["sharded", "pmap"])
def test_runs_of_any_length_and_rate_are_one_program(lower_train, strategy):
  """A compiled program is found again by its text."""
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    optim=OptimConfig(epochs=60),
    run=RunConfig(strategy=strategy, steps_per_dispatch=125),
  )

  def changed(**options):
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **options))

  text = lower_train(config)
  assert "stablehlo.while" in text
  assert lower_train(changed(epochs=300, learning_rate=0.02, decay=0.2)) == text
  assert lower_train(changed(momentum=0.8)) != text  # What is a constant does show.


@pytest.mark.slow
def test_a_second_run_of_another_length_finds_the_program_of_the_first(tmp_path, digits_dir):
  cache = tmp_path / "cache"
  options = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
  before = [getattr(jax.config, option) for option in options]
  for option, value in zip(options, (str(cache), 0.0), strict=True):
    jax.config.update(option, value)
  reset_cache()
  try:
    for epochs in (1, 2):
      config = TrainConfig(
        data=DataConfig(name="mnist_5k:0,1"),
        optim=OptimConfig(epochs=epochs, batch_size=56),  # 5 and 10 steps
        run=RunConfig(strategy="sharded", steps_per_dispatch=5),
      )
      train(config, tmp_path / f"run-{epochs}", data_dir=digits_dir)
      assert len(list(cache.glob("jit_steps-*-cache"))) == 1
  finally:
    for option, value in zip(options, before, strict=True):
      jax.config.update(option, value)
    reset_cache()
