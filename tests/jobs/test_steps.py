import dataclasses
from types import SimpleNamespace

import jax
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from isomax_jax.jobs import steps
from isomax_jax.jobs.steps import count_steps, steps_per_dispatch
from isomax_jax.jobs.train import train
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig

CPU, GPU, TPU = ([SimpleNamespace(platform=name)] for name in ("cpu", "gpu", "tpu"))


@pytest.mark.parametrize(
  ("total_steps", "expected"),
  [
    (46_875, 125),  # 60 and 300 epochs of 50,000 images in batches of 64.
    (234_375, 125),
    (343_392, 112),  # 300 of SVHN.
    (104_729, 100),  # A prime.
    (2 * 131, 100),
    (31, 100),
    (1, 100),
    (32, 32),
    (128, 128),
    (129, 43),
  ],
)  # fmt: skip
def test_a_dispatch_is_a_divisor_of_the_run(total_steps, expected):
  for devices in (GPU, TPU):
    assert steps_per_dispatch(TrainConfig(), devices, total_steps=total_steps) == expected


def test_a_dispatch_is_a_step_on_a_cpu_and_what_the_config_says_everywhere():
  assert steps_per_dispatch(TrainConfig(), CPU, total_steps=46_875) == 1
  config = TrainConfig(run=RunConfig(steps_per_dispatch=7))
  for devices in (CPU, GPU):
    assert steps_per_dispatch(config, devices, total_steps=46_875) == 7


def test_steps_are_counted_to_the_nearest():
  config = TrainConfig(optim=OptimConfig(batch_size=64))
  assert count_steps(config, 300, examples=50_000) == 234_375
  assert count_steps(config, 300, examples=73_257) == 343_392
  assert count_steps(config, 0.001, examples=50_000) == 1


class Lowered(Exception):  # noqa: N818
  """Ends a training before its first program is compiled."""


@pytest.fixture
def lower_train(tmp_path, digits_dir, monkeypatch):
  """Return a function of a config to the text of the program that its training compiles first."""
  made = steps.make_runner

  def make_runner(*arguments, **options):
    runner, axis_name = made(*arguments, **options)

    def lower(*arguments):
      raise Lowered(runner.lower(*arguments).as_text())

    return runner._replace(lower=lower), axis_name

  monkeypatch.setattr("isomax_jax.jobs.train.make_runner", make_runner)

  def lower(config):
    with pytest.raises(Lowered) as lowered:
      train(config, tmp_path / "run", data_dir=digits_dir, fresh=True)
    return str(lowered.value)

  return lower


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
