"""The schedule of a run: when to log, validate and save, in steps."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from isomax_jax.training.config import TrainConfig
from isomax_jax.typing import Device


class Schedule(NamedTuple):
  """Intervals in steps; a checkpoint is also due after ``checkpoint_seconds`` without one."""

  total: int
  steps_per_epoch: float
  per_dispatch: int
  log: int
  validate: int
  checkpoint: int
  checkpoint_seconds: float = math.inf

  def steps_from(self, step: int) -> int:
    """Return how many steps to dispatch next; the rest of a run goes singly, by one program."""
    return self.per_dispatch if step + self.per_dispatch <= self.total else 1

  def is_due(self, interval: int, previous: int, step: int) -> bool:
    """Return whether a dispatch from step ``previous`` to ``step`` completes an interval."""
    return step == self.total or step // interval > previous // interval


def make_schedule(config: TrainConfig, *, examples: int, devices: Sequence[Device]) -> Schedule:
  """Make the schedule of a config that trains on so many examples."""
  steps = partial(count_steps, config, examples=examples)
  total = steps(config.optim.epochs)
  return Schedule(
    total=total,
    steps_per_epoch=examples / config.optim.batch_size,
    per_dispatch=steps_per_dispatch(config, devices, total_steps=total),
    log=steps(config.run.log_epochs),
    validate=steps(config.run.validate_epochs),
    checkpoint=steps(config.run.checkpoint_epochs),
    checkpoint_seconds=60 * (config.run.checkpoint_minutes or math.inf),
  )


def count_steps(config: TrainConfig, epochs: float, *, examples: int) -> int:
  """Return the steps of some epochs over so many examples, rounded, but at least one."""
  return max(1, round(epochs * (examples / config.optim.batch_size)))


def steps_per_dispatch(config: TrainConfig, devices: Sequence[Device], *, total_steps: int) -> int:
  """Return how many steps are one program.

  Unless the config says so, 1 on a CPU, where scanned convolutions are slow. Elsewhere a divisor of
  ``total_steps``, so that no second program is compiled for the rest, and one that runs of several
  lengths have in common: 125 for 60 and for 300 epochs of 50,000 images in batches of 64.
  """
  if config.run.steps_per_dispatch is not None:
    return config.run.steps_per_dispatch
  if devices[0].platform == "cpu":
    return 1
  return next((steps for steps in range(128, 31, -1) if total_steps % steps == 0), 100)
