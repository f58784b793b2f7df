"""Checkpoints: the state and the clock, whole or absent."""

import logging
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from isomax_jax.training.clock import Clock
from isomax_jax.training.state import TrainState


class Checkpoints:
  """The checkpoints of a run directory, saved in the background.

  Args:
    directory: Folder of the checkpoints; made at the first save.
    kept: How many of the last ones stay on disk; None keeps all.
  """

  def __init__(self, directory: Path, *, kept: int | None):
    logging.getLogger("absl").setLevel(logging.ERROR)
    options = ocp.CheckpointManagerOptions(max_to_keep=kept, create=True)
    self._manager = ocp.CheckpointManager(Path(directory).absolute(), options=options)

  def latest_step(self) -> int | None:
    """Return the step of the last whole checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, state: TrainState, clock: Clock) -> None:
    """Save in the background; a step that is there already is left as it is."""
    step = int(state.step)
    if step == self._manager.latest_step():
      return
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(_arrays(state)),
        clock=ocp.args.JsonSave({"seconds": clock.seconds}),
      ),
    )

  def restore(self, state: TrainState) -> tuple[TrainState, Clock]:
    """Restore the last checkpoint onto the devices, and with the shapes, of ``state``.

    Raises:
      FileNotFoundError: If there is none.
      ValueError: If its arrays are not those of ``state``.
    """
    step = self._manager.latest_step()
    if step is None:
      raise FileNotFoundError(f"no checkpoint in {self._manager.directory}")
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(state))
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), clock=ocp.args.JsonRestore()
      ),
    )
    return state.replace(**restored.state), Clock(restored.clock["seconds"])

  def close(self) -> None:
    """Wait until everything is on disk."""
    self._manager.wait_until_finished()
    self._manager.close()


def _arrays(state: TrainState) -> dict:
  return {
    "step": state.step,
    "params": state.params,
    "batch_stats": state.batch_stats,
    "opt_state": state.opt_state,
  }
