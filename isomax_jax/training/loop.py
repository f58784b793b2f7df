"""The loop: restore, step, log, checkpoint, validate, done."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.parallel import Runner
from isomax_jax.training.processes import on_first
from isomax_jax.training.state import TrainState
from isomax_jax.training.tally import Tally
from isomax_jax.training.writers import Writer


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
  checkpoint_seconds: float


def fit(
  state: TrainState,
  *,
  runner: Runner,
  source: Any,
  draws: Callable[[int], Iterator[Any]],
  key: jax.Array,
  batch_size: int,
  schedule: Schedule,
  tally: Tally,
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
    tally: What was counted so far.
    checkpoints: Where the state is saved: on the intervals, when stopped, at the end, and after
      each validation if they keep the best.
    validate: Function of the state to metrics of the validation images, if there are any.
    writers: Take the metrics.
    interruption: Looked at after each dispatch.

  Returns:
    The trained state.

  Raises:
    FloatingPointError: If the loss is not finite; no such state is saved.
    Interrupted: If the run was asked to stop; its state is saved.
  """
  step = int(state.step)
  stream = draws(step)
  compiled: dict[int, jax.stages.Compiled] = {}
  pending: list[Any] = []
  saved = time.monotonic()

  def write(split: str, metrics: dict[str, float]) -> None:
    for writer in writers:
      writer(step, {"epoch": step / schedule.steps_per_epoch, "split": split, **metrics})

  def count() -> None:
    """Count what the steps gave; the only place that waits for them."""
    for metrics in jax.device_get(pending):
      tally.add(metrics)
    tally.stop()
    pending.clear()
    if not np.isfinite(tally.line_sums["loss"]):
      raise FloatingPointError(
        f"the loss is not finite between steps {step - tally.line_steps} and {step}; "
        f"last good checkpoint: {checkpoints.latest_step() or 'none'}"
      )

  def log() -> None:
    """Write the means since the last line."""
    speed = tally.line_steps * batch_size / tally.line_seconds
    compiling = tally.line_compile_seconds
    means = {**tally.take_means(), "images_per_second": speed}
    write("train", means | ({"compile_seconds": compiling} if compiling else {}))

  while step < schedule.total:
    # What remains goes step by step: one program for all remainders, whatever their length.
    steps = schedule.per_dispatch if step + schedule.per_dispatch <= schedule.total else 1
    drawn = jax.tree.map(lambda *leaves: np.stack(leaves), *itertools.islice(stream, steps))
    drawn = runner.place(drawn)
    if steps not in compiled:
      tally.stop()
      started = time.perf_counter()
      compiled[steps] = runner.lower(state, source, drawn, key).compile()
      tally.line_compile_seconds += time.perf_counter() - started
    tally.start()
    state, metrics = compiled[steps](state, source, drawn, key)
    pending.append(metrics)
    previous, step = step, step + steps
    last = step == schedule.total
    stopping = bool(interruption)
    logging = last or _crossed(schedule.log, previous, step)
    validating = validate is not None and (last or _crossed(schedule.validate, previous, step))
    overdue = time.monotonic() - saved > schedule.checkpoint_seconds
    if jax.process_count() > 1:
      # Clocks differ: the first one counts, and is asked where all wait anyway.
      overdue = logging and bool(on_first(lambda overdue=overdue: int(overdue)))
    saving = (
      last
      or stopping
      or overdue
      or _crossed(schedule.checkpoint, previous, step)
      or (validating and checkpoints.keep_best)
    )
    if logging or saving:
      count()
    if logging:
      log()
    accuracy = None
    if validating:
      tally.stop()
      measured = validate(state)
      write("validation", measured)
      accuracy = measured.get("accuracy")
    if saving:
      checkpoints.save(state, tally.to_json(), accuracy=accuracy)
      saved = time.monotonic()
    if stopping and not last:
      raise Interrupted(f"stopped at step {step} of {schedule.total}", interruption.signal)
  return state


def _crossed(interval: int, previous: int, step: int) -> bool:
  return step // interval > previous // interval
