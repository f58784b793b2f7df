"""The training loop: step, log, validate, checkpoint."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.devices import Runner
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.log import Log
from isomax_jax.training.processes import on_first
from isomax_jax.training.schedule import Schedule
from isomax_jax.training.state import TrainState


class Programs:
  """The compiled steps of a run, with its source and key: a program for each number of steps."""

  def __init__(self, runner: Runner, source: Any, key: jax.Array):
    self._runner = runner
    self._source, self._key = runner.replicate((source, key))
    self._compiled: dict[int, jax.stages.Compiled] = {}

  def run(self, state: TrainState, draws: list[Any], log: Log) -> tuple[TrainState, Any]:
    """Dispatch a step for each draw; return the state and the metrics, maybe not computed yet."""
    drawn = self._runner.place(jax.tree.map(lambda *leaves: np.stack(leaves), *draws))
    if len(draws) not in self._compiled:
      with log.compiling():
        lowered = self._runner.lower(state, self._source, drawn, self._key)
        self._compiled[len(draws)] = lowered.compile()
    log.start_clock()
    return self._compiled[len(draws)](state, self._source, drawn, self._key)


def fit(
  state: TrainState,
  *,
  programs: Programs,
  draws: Callable[[int], Iterator[Any]],
  schedule: Schedule,
  log: Log,
  checkpoints: Checkpoints,
  validate: Callable[[TrainState], dict[str, float]] | None,
  interruption: Interruption,
) -> TrainState:
  """Train from the state's step to the end of the schedule.

  ``state`` is new or restored, and replicated. ``draws`` maps a step to the stream of draws from
  there on, ``validate`` a state to metrics of the validation images. The state is saved on the
  intervals, when stopped, at the end, and after each validation if ``checkpoints`` keep the best.

  Raises:
    FloatingPointError: If the loss is not finite; no such state is saved.
    Interrupted: If the run was asked to stop; its state is saved.
  """
  step = int(state.step)
  stream = draws(step)
  saved = time.monotonic()
  while step < schedule.total:
    drawn = list(itertools.islice(stream, schedule.steps_from(step)))
    state, metrics = programs.run(state, drawn, log)
    log.add(metrics)
    previous, step = step, step + len(drawn)
    due = partial(schedule.is_due, previous=previous, step=step)
    stopping, logs = bool(interruption), due(schedule.log)
    validates = validate is not None and due(schedule.validate)
    overdue = time.monotonic() - saved > schedule.checkpoint_seconds
    if jax.process_count() > 1:
      # Clocks differ: process 0's counts, and is asked where all wait anyway.
      overdue = logs and bool(on_first(partial(int, overdue)))
    saves = stopping or overdue or due(schedule.checkpoint) or (validates and checkpoints.keep_best)
    if logs or saves:
      log.count(step, last_good=checkpoints.latest_step)
    if logs:
      log.write_means(step)
    accuracy = None
    if validate is not None and validates:
      log.stop_clock()
      measured = validate(state)
      log.write(step, "validation", measured)
      accuracy = measured.get("accuracy")
    if saves:
      checkpoints.save(state, log.tally.to_json(), accuracy=accuracy)
      saved = time.monotonic()
    if stopping and step < schedule.total:
      raise Interrupted(f"stopped at step {step} of {schedule.total}", interruption.signal)
  return state
