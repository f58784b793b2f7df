import contextlib
import dataclasses
import itertools
import json
import math
import signal
from functools import partial

import chex
import jax
import numpy as np
import pytest

from isomax_jax.data import resident
from isomax_jax.training import loop
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.devices import make_runner
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.log import Log, Tally
from isomax_jax.training.schedule import Schedule
from isomax_jax.training.writers import JsonLinesWriter
from tests.slow import slow

BATCH = 8
TOTAL = 12


class StopAt(Interruption):
  """Asks to stop when it has been looked at a number of times."""

  def __init__(self, looks):
    super().__init__()
    self._looks = itertools.count(1)
    self._last = looks

  def __bool__(self):
    if next(self._looks) > self._last:
      self.signal = signal.SIGINT
    return self.signal is not None


def fit(
  folder,
  state,
  step,
  examples,
  *,
  interruption=None,
  per_dispatch=1,
  checkpoint=5,
  checkpoint_seconds=math.inf,
  validate=None,
  keep_best=False,
  draws=None,
  lowered=None,
):
  """Train in a folder to the end, from its last checkpoint if there is one.

  ``lowered`` takes the number of steps of each program.
  """
  runner = make_runner(
    step, resident.fetch, strategy="sharded", devices=jax.devices()[:1], batch_size=BATCH
  )

  def lower(state, source, drawn, key):
    if lowered is not None:
      lowered.append(len(drawn.indices))
    return runner.lower(state, source, drawn, key)

  state = runner.replicate(state)
  steps_per_epoch = len(examples.labels) / BATCH
  with contextlib.closing(
    Checkpoints(folder / "checkpoints", kept=2, keep_best=keep_best)
  ) as checkpoints:
    tally = Tally()
    restored = checkpoints.restore_last(state)
    if restored is not None:
      state, tally = restored[0], Tally.from_json(restored[1])
    with JsonLinesWriter(folder / "metrics.jsonl", resume_step=int(state.step)) as writer:
      return loop.fit(
        state,
        programs=loop.Programs(runner._replace(lower=lower), examples, jax.random.key(1)),
        draws=draws or partial(_draws, len(examples.labels)),
        schedule=Schedule(
          total=TOTAL,
          steps_per_epoch=steps_per_epoch,
          per_dispatch=per_dispatch,
          log=2,
          validate=4,
          checkpoint=checkpoint,
          checkpoint_seconds=checkpoint_seconds,
        ),
        log=Log(tally, [writer], batch_size=BATCH, steps_per_epoch=steps_per_epoch),
        checkpoints=checkpoints,
        validate=validate,
        interruption=Interruption() if interruption is None else interruption,
      )


def _draws(examples, start):
  return resident.draws(examples, batch_size=BATCH, seed=0, start=start)


def lines(folder):
  """The log without what depends on the machine's speed."""
  rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
  speed = {"images_per_second", "compile_seconds"}
  return [{k: v for k, v in row.items() if k not in speed} for row in rows]


def test_lines_are_at_their_intervals_with_means_since_the_last(
  tmp_path, examples, make_step, make_state
):
  fit(tmp_path, make_state(), make_step(), examples, validate=lambda state: {"loss": 7.0})
  rows = lines(tmp_path)
  train = [row["step"] for row in rows if row["split"] == "train"]
  assert train == [2, 4, 6, 8, 10, 12]  # None at 5, where a checkpoint is.
  assert [row["step"] for row in rows if row["split"] == "validation"] == [4, 8, 12]
  assert rows[-1] == {"step": 12, "epoch": 12 * BATCH / 40, "split": "validation", "loss": 7.0}

  one_by_one = tmp_path / "other"
  one_by_one.mkdir()
  step, state = jax.jit(make_step()), make_state()
  source = jax.device_put(examples)
  losses = []
  for draw in itertools.islice(_draws(len(examples.labels), 0), 2):
    state, metrics = step(state, resident.fetch(source, draw), jax.random.key(1))
    losses.append(float(metrics["loss"]))
  np.testing.assert_allclose(rows[0]["loss"], np.mean(losses), rtol=1e-5)


@pytest.mark.parametrize(
  ("looks", "per_dispatch"),
  [(2, 1), slow(4, 1), slow(1, 5)],
)
def test_a_resumed_run_equals_one_without_a_stop_bit_for_bit(
  tmp_path, examples, make_step, make_state, looks, per_dispatch
):
  """Also where the stop cuts a line of the log in two."""
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  options = {"per_dispatch": per_dispatch, "validate": lambda state: {"step": int(state.step)}}
  for folder in (whole, stopped):
    folder.mkdir()
  expected = fit(whole, make_state(), make_step(), examples, **options)
  with pytest.raises(Interrupted, match=r"stopped at step \d+ of 12"):
    fit(stopped, make_state(), make_step(), examples, interruption=StopAt(looks), **options)
  actual = fit(stopped, make_state(), make_step(), examples, **options)
  for part in ("step", "params", "batch_stats", "opt_state"):
    chex.assert_trees_all_equal(getattr(actual, part), getattr(expected, part))
  assert lines(stopped) == lines(whole)


@pytest.mark.slow
def test_a_stop_during_validation_loses_nothing(tmp_path, examples, make_step, make_state):
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  interruption = Interruption()

  def validate(state, asked=False):
    if asked and int(state.step) == 4:
      interruption.signal = signal.SIGTERM
    return {"step": int(state.step)}

  for folder in (whole, stopped):
    folder.mkdir()
  fit(whole, make_state(), make_step(), examples, validate=validate)
  options = {"interruption": interruption, "validate": partial(validate, asked=True)}
  with pytest.raises(Interrupted, match="stopped at step 5 of 12"):
    fit(stopped, make_state(), make_step(), examples, **options)
  fit(stopped, make_state(), make_step(), examples, validate=validate)
  assert lines(stopped) == lines(whole)


def steps_of(folder):
  return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def test_time_without_a_checkpoint_ends_with_one(tmp_path, examples, make_step, make_state):
  """None is due by steps; by time one is after each dispatch, of which the last two stay."""
  options = {"checkpoint": 100, "checkpoint_seconds": 0.0, "per_dispatch": 4}
  fit(tmp_path, make_state(), make_step(), examples, **options)
  assert steps_of(tmp_path) == [8, 12]


@pytest.mark.slow
def test_what_remains_of_a_run_goes_step_by_step(tmp_path, examples, make_step, make_state):
  """Also of one that was stopped at a step that is no multiple: two programs do."""
  folders = [tmp_path / name for name in ("whole", "stopped", "short")]
  for folder in folders:
    folder.mkdir()
  whole, stopped, short = folders
  programs = []
  expected = fit(whole, make_state(), make_step(), examples, per_dispatch=5, lowered=programs)
  assert programs == [5, 1]
  assert [row["step"] for row in lines(whole)] == [5, 10, 12]

  with pytest.raises(Interrupted, match="stopped at step 4 of 12"):
    fit(stopped, make_state(), make_step(), examples, interruption=StopAt(3))
  programs.clear()
  actual = fit(stopped, make_state(), make_step(), examples, per_dispatch=5, lowered=programs)
  assert programs == [5, 1]
  assert [row["step"] for row in lines(stopped)] == [2, 4, 9, 10, 12]
  chex.assert_trees_all_close(actual.params, expected.params, rtol=1e-4, atol=1e-6)

  programs.clear()
  fit(short, make_state(), make_step(), examples, per_dispatch=TOTAL + 1, lowered=programs)
  assert programs == [1]


def test_each_validation_is_saved_where_the_best_is_kept(tmp_path, examples, make_step, make_state):
  accuracies = {4: 0.9, 8: 0.3, 12: 0.6}
  options = {"checkpoint": 3, "validate": lambda s: {"accuracy": accuracies[int(s.step)]}}
  fit(tmp_path, make_state(), make_step(), examples, keep_best=True, **options)
  assert steps_of(tmp_path) == [4, 9, 12]
  with contextlib.closing(Checkpoints(tmp_path / "checkpoints", read_only=True)) as checkpoints:
    assert checkpoints.best_step() == 4


def test_lines_behind_the_last_checkpoint_are_written_once(
  tmp_path, examples, make_step, make_state
):
  """As after a kill: the log is ahead of the checkpoint, its last line torn."""
  fit(tmp_path, make_state(), make_step(), examples)
  expected = lines(tmp_path)
  checkpoints = sorted((tmp_path / "checkpoints").iterdir(), key=lambda path: path.name)
  steps = {int(path.name): path for path in checkpoints if path.name.isdigit()}
  assert sorted(steps) == [10, 12]
  steps[12].rename(tmp_path / "gone")
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 12, "lo')
  fit(tmp_path, make_state(), make_step(), examples)
  assert lines(tmp_path) == expected


@pytest.mark.slow
def test_compilation_is_told_apart_from_speed(tmp_path, examples, make_step, make_state):
  fit(tmp_path, make_state(), make_step(), examples, per_dispatch=5)
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  # Two programs: five steps a dispatch, and the two that are left at the end.
  assert [row["step"] for row in rows if row.get("compile_seconds", 0) > 0] == [5, 12]
  assert all(row["images_per_second"] > 0 for row in rows)


def test_a_finished_run_is_left_as_it_is(tmp_path, examples, make_step, make_state):
  first = fit(tmp_path, make_state(), make_step(), examples)
  log = (tmp_path / "metrics.jsonl").read_bytes()
  second = fit(tmp_path, make_state(), make_step(), examples)
  chex.assert_trees_all_equal(first.params, second.params)
  assert (tmp_path / "metrics.jsonl").read_bytes() == log


def test_a_loss_that_is_not_finite_stops_and_saves_nothing(
  tmp_path, examples, make_step, make_state
):
  labels = np.where(np.arange(40) == 0, 99, examples.labels)
  broken = dataclasses.replace(examples, labels=labels)
  # The spoilt example comes up in the first epoch, after the first checkpoint of step 1.
  order = [draw.indices for draw in itertools.islice(_draws(40, 0), 5)]
  bad_step = next(i for i, indices in enumerate(order) if 0 in indices) + 1
  with pytest.raises(FloatingPointError, match=r"not finite between steps \d+ and \d+; last good"):
    fit(tmp_path, make_state(), make_step(), broken, checkpoint=1)
  saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
  assert max(saved, default=0) == bad_step - 1


def test_time_in_steps_is_kept_across_restarts(tmp_path, examples, make_step, make_state):
  seconds = []
  for interruption in (StopAt(3), None):
    with contextlib.suppress(Interrupted):
      fit(tmp_path, make_state(), make_step(), examples, interruption=interruption)
    with contextlib.closing(Checkpoints(tmp_path / "checkpoints", read_only=True)) as checkpoints:
      seconds.append(Tally.from_json(checkpoints.restore(make_state())[1]).seconds)
  assert 0 < seconds[0] < seconds[1]
