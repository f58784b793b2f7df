import contextlib

import chex
import jax
import pytest

from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.clock import Clock


def test_what_is_saved_comes_back_with_the_clock(tmp_path, make_state):
  state = make_state()
  state = state.replace(step=state.step + 7, params=jax.tree.map(lambda x: x + 1, state.params))
  with contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints:
    assert checkpoints.latest_step() is None
    checkpoints.save(state, Clock(12.5))
  with contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints:
    assert checkpoints.latest_step() == 7
    restored, clock = checkpoints.restore(make_state())
  assert clock.seconds == 12.5
  for part in ("step", "params", "batch_stats", "opt_state"):
    chex.assert_trees_all_equal(getattr(restored, part), getattr(state, part))


def test_only_the_last_ones_are_kept(tmp_path, make_state):
  with contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints:
    for step in range(4):
      checkpoints.save(make_state().replace(step=make_state().step + step), Clock())
  assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_nothing_to_restore_is_an_error(tmp_path, make_state):
  with (
    contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints,
    pytest.raises(FileNotFoundError, match="no checkpoint in"),
  ):
    checkpoints.restore(make_state())


def test_a_checkpoint_of_another_network_is_refused(tmp_path, make_state):
  state = make_state()
  with contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints:
    checkpoints.save(state, Clock())
  other = state.replace(params={"head": {"prototypes": state.params["head"]["prototypes"][:2]}})
  with (
    contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints,
    pytest.raises(ValueError, match=r"checkpoint 0 in .* is not of this network: "),
  ):
    checkpoints.restore(other)
  wider = state.replace(
    params=jax.tree.map(lambda leaf: jax.numpy.concatenate([leaf, leaf]), state.params)
  )
  with (
    contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints,
    pytest.raises(ValueError, match=r"checkpoint 0 in .* is not of this network: "),
  ):
    checkpoints.restore(wider)
