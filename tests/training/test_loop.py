import contextlib
import itertools
import json
import signal
from functools import partial

import chex
import jax
import numpy as np
import pytest

from isomax_jax.data import resident
from isomax_jax.training import loop
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.clock import Clock
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.parallel import make_runner
from isomax_jax.training.writers import JsonLinesWriter

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
  validate=None,
  draws=None,
):
  """Train in a folder to the end, from its last checkpoint if there is one."""
  runner = make_runner(
    step, resident.fetch, strategy="sharded", devices=jax.devices()[:1], batch_size=BATCH
  )
  state = runner.replicate(state)
  with contextlib.closing(Checkpoints(folder / "checkpoints", kept=2)) as checkpoints:
    clock = Clock()
    if checkpoints.latest_step() is not None:
      state, clock = checkpoints.restore(state)
    with JsonLinesWriter(folder / "metrics.jsonl", resume_step=int(state.step)) as writer:
      return loop.fit(
        state,
        runner=runner,
        source=runner.replicate(examples),
        draws=draws or partial(_draws, len(examples.labels)),
        key=runner.replicate(jax.random.key(1)),
        batch_size=BATCH,
        schedule=loop.Schedule(
          total=TOTAL,
          steps_per_epoch=len(examples.labels) / BATCH,
          per_dispatch=per_dispatch,
          log=2,
          validate=4,
          checkpoint=checkpoint,
        ),
        clock=clock,
        checkpoints=checkpoints,
        validate=validate,
        writers=[writer],
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
  assert train == [2, 4, 5, 6, 8, 10, 12]  # 5: no checkpoint before its loss was looked at.
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


@pytest.mark.parametrize(("looks", "per_dispatch"), [(2, 1), (5, 1), (1, 5)])
def test_a_resumed_run_equals_one_without_a_stop_bit_for_bit(
  tmp_path, examples, make_step, make_state, looks, per_dispatch
):
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
  steps = [row["step"] for row in lines(stopped) if row["split"] == "train"]
  assert steps == sorted(set(steps))
  assert lines(stopped)[-1] == lines(whole)[-1]


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
  broken = examples._replace(labels=np.where(np.arange(40) == 0, 99, examples.labels))
  # The spoilt example comes up in the first epoch, after the first checkpoint of step 1.
  order = [draw.indices for draw in itertools.islice(_draws(40, 0), 5)]
  bad_step = next(i for i, indices in enumerate(order) if 0 in indices) + 1
  with pytest.raises(FloatingPointError, match=r"not finite between steps \d+ and \d+; last good"):
    fit(tmp_path, make_state(), make_step(), broken, checkpoint=1)
  saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
  assert max(saved, default=0) == bad_step - 1


def test_time_in_steps_is_kept_across_restarts(tmp_path, examples, make_step, make_state):
  with pytest.raises(Interrupted):
    fit(tmp_path, make_state(), make_step(), examples, interruption=StopAt(3))
  with contextlib.closing(Checkpoints(tmp_path / "checkpoints", kept=2)) as checkpoints:
    _, before = checkpoints.restore(make_state())
  fit(tmp_path, make_state(), make_step(), examples)
  with contextlib.closing(Checkpoints(tmp_path / "checkpoints", kept=2)) as checkpoints:
    _, after = checkpoints.restore(make_state())
  assert 0 < before.seconds < after.seconds
