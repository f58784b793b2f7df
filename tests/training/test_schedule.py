"""When things happen in a run, counted in steps."""

import dataclasses
import math
from types import SimpleNamespace

import pytest

from isomax_jax.training import OptimConfig, RunConfig, TrainConfig
from isomax_jax.training.schedule import count_steps, make_schedule, steps_per_dispatch

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


def test_a_schedule_is_the_configs_epochs_in_steps():
  config = TrainConfig(
    optim=OptimConfig(batch_size=64, epochs=300),
    run=RunConfig(log_epochs=0.5, validate_epochs=2, checkpoint_epochs=10, checkpoint_minutes=1.5),
  )
  schedule = make_schedule(config, examples=50_000, devices=GPU)
  assert (schedule.total, schedule.steps_per_epoch) == (234_375, 781.25)
  assert schedule.per_dispatch == 125
  assert (schedule.log, schedule.validate, schedule.checkpoint) == (391, 1562, 7812)
  assert schedule.checkpoint_seconds == 90
  never = dataclasses.replace(config, run=RunConfig(checkpoint_minutes=None))
  assert make_schedule(never, examples=50_000, devices=CPU).checkpoint_seconds == math.inf
