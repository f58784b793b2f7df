"""The loop: restore, step, log, checkpoint, validate, done."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.clock import Clock
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.parallel import Run, Runner
from isomax_jax.training.state import TrainState
from isomax_jax.training.writers import Writer


class Schedule(NamedTuple):
  """When things happen, in steps."""

  total: int
  steps_per_epoch: float
  per_dispatch: int
  log: int
  validate: int
  checkpoint: int


def fit(
  state: TrainState,
  *,
  runner: Runner,
  source: Any,
  draws: Callable[[int], Iterator[Any]],
  key: jax.Array,
  batch_size: int,
  schedule: Schedule,
  clock: Clock,
  checkpoints: Checkpoints,
  validate: Callable[[TrainState], dict[str, float]] | None,
  writers: Sequence[Writer],
  interruption: Interruption,
) -> TrainState:
  """Train from the state's step to the end of the schedule.

  Args:
    state: Where to start, new or restored, replicated.
    runner: Compiled steps.
    source: What the runner's batches are fetched from.
    draws: Function of a step to the stream of draws from there on.
    key: The run's random key.
    batch_size: Examples a step over all devices.
    schedule: When things happen.
    clock: Time spent so far.
    checkpoints: Where the state is saved, on the interval and at the end.
    validate: Function of the state to metrics of the validation images, if there are any.
    writers: Take the metrics.
    interruption: Looked at after each dispatch.

  Returns:
    The trained state.

  Raises:
    FloatingPointError: If the loss is not finite; no such state is saved.
    Interrupted: If the run was asked to stop; its state is saved.
  """
  step = logged = int(state.step)
  stream = draws(step)
  compiled: dict[int, Run] = {}
  pending: list[Any] = []
  compile_seconds = 0.0

  def write(split: str, metrics: dict[str, float]) -> None:
    for writer in writers:
      writer(step, {"epoch": step / schedule.steps_per_epoch, "split": split, **metrics})

  def log() -> None:
    """Write the means since the last line; the only place that waits for the steps."""
    nonlocal logged, compile_seconds
    values = jax.device_get(pending)
    seconds = clock.lap()
    means = {name: float(np.mean(np.concatenate([v[name] for v in values]))) for name in values[0]}
    if not np.isfinite(means["loss"]):
      raise FloatingPointError(
        f"the loss is not finite between steps {logged} and {step}; "
        f"last good checkpoint: {checkpoints.latest_step() or 'none'}"
      )
    means["images_per_second"] = (step - logged) * batch_size / seconds
    if compile_seconds:
      means["compile_seconds"] = compile_seconds
    write("train", means)
    logged, compile_seconds = step, 0.0
    pending.clear()

  while step < schedule.total:
    count = min(schedule.per_dispatch, schedule.total - step)
    drawn = jax.tree.map(lambda *leaves: np.stack(leaves), *itertools.islice(stream, count))
    if count not in compiled:
      clock.stop()
      started = time.perf_counter()
      compiled[count] = runner.compile(state, source, drawn, key)
      compile_seconds += time.perf_counter() - started
    clock.start()
    state, metrics = compiled[count](state, source, drawn, key)
    pending.append(metrics)
    previous, step = step, step + count
    last = step == schedule.total
    stopping = bool(interruption)
    saving = last or stopping or _crossed(schedule.checkpoint, previous, step)
    if saving or _crossed(schedule.log, previous, step):
      log()
    if validate is not None and (last or _crossed(schedule.validate, previous, step)):
      clock.stop()
      write("validation", validate(state))
    if saving:
      checkpoints.save(state, clock)
    if stopping and not last:
      raise Interrupted(f"stopped at step {step} of {schedule.total}", interruption.signal)
  return state


def _crossed(interval: int, previous: int, step: int) -> bool:
  return step // interval > previous // interval
