"""When things happen in a run, counted in steps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from isomax_jax.training.config import TrainConfig
from isomax_jax.training.processes import on_first


class Due(NamedTuple):
  """What is due after a dispatch."""

  log: bool
  validate: bool
  save: bool
  stop: bool


class Schedule(NamedTuple):
  """When things happen, in steps; a checkpoint is also due after so many seconds without one.

  What is due between the ends of two dispatches happens at the second, once.
  """

  total: int
  steps_per_epoch: float
  per_dispatch: int
  log: int
  validate: int
  checkpoint: int
  checkpoint_seconds: float = math.inf

  def steps_from(self, step: int) -> int:
    """Return how many steps to dispatch: what remains goes step by step, by one program for all."""
    return self.per_dispatch if step + self.per_dispatch <= self.total else 1

  def due(
    self,
    previous: int,
    step: int,
    *,
    validates: bool,
    saves_validated: bool,
    seconds_unsaved: float,
    stopping: bool,
  ) -> Due:
    """Tell what is due after a dispatch.

    Args:
      previous: Step before the dispatch.
      step: Step after it.
      validates: Whether there is anything to validate on.
      saves_validated: Whether a checkpoint follows each validation.
      seconds_unsaved: Seconds since the last checkpoint.
      stopping: Whether the run was asked to stop.
    """

    def crossed(interval: int) -> bool:
      return step == self.total or step // interval > previous // interval

    log, validate = crossed(self.log), validates and crossed(self.validate)
    overdue = seconds_unsaved > self.checkpoint_seconds
    if jax.process_count() > 1:
      # Clocks differ: the first one counts, and is asked where all wait anyway.
      overdue = log and bool(on_first(lambda: int(overdue)))
    save = stopping or overdue or crossed(self.checkpoint) or (validate and saves_validated)
    return Due(log, validate, save, stopping and step < self.total)


def make_schedule(config: TrainConfig, *, examples: int, devices: Sequence[jax.Device]) -> Schedule:
  """Turn a config's epochs into steps.

  Args:
    config: The config.
    examples: Examples that are trained on.
    devices: Where it runs.
  """

  def steps(epochs: float) -> int:
    return count_steps(config, epochs, examples=examples)

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
  """Count the steps of some epochs over so many examples: the nearest number, but one at least."""
  return max(1, round(epochs * (examples / config.optim.batch_size)))


def steps_per_dispatch(
  config: TrainConfig, devices: Sequence[jax.Device], *, total_steps: int
) -> int:
  """Return how many steps are one program on devices.

  As many as the config says. If it does not, 1 on a CPU, where scanned convolutions are slow.
  Elsewhere a number that the run is a multiple of, so that nothing remains for which another
  program would be compiled, and that runs of several lengths have in common.

  Args:
    config: The config.
    devices: The devices.
    total_steps: Steps of the run.

  Example:
    >>> class Gpu:
    ...   platform = "gpu"
    >>> [
    ...   steps_per_dispatch(TrainConfig(), [Gpu], total_steps=epochs * 50_000 // 64)
    ...   for epochs in (60, 300)]
    [125, 125]
  """
  if config.run.steps_per_dispatch is not None:
    return config.run.steps_per_dispatch
  if devices[0].platform == "cpu":
    return 1
  return next((steps for steps in range(128, 31, -1) if total_steps % steps == 0), 100)
