"""Checkpoints: a state and notes beside it, whole or absent, and never restored damaged."""

import contextlib
import copy
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from isomax_jax._files import one_line, read_json, write_atomically
from isomax_jax.training.processes import on_first
from isomax_jax.training.state import TrainState

MANIFEST = "manifest.json"
"""In a checkpoint, the SHA-256 of each of its files; written last."""
# Orbax writes these once more when all is written; nothing that is restored is in them.
_UNVERIFIED = (MANIFEST, "_CHECKPOINT_METADATA", "commit_success.txt")

_logger = logging.getLogger(__name__)


class DamagedCheckpoint(ValueError):  # noqa: N818 (it says what it is)
  """The files of a checkpoint are not those that were written."""


def check_directory(directory: Path, *, read_only: bool = False) -> None:
  """Raise ``ValueError`` if no checkpoint that is written to this directory could be read.

  Orbax takes the path for a pattern when it brings the parts of a checkpoint together, finds none,
  and reports a success; what was written elsewhere and moved there can be read. TensorStore takes
  backslashes for slashes.
  """
  path = Path(directory).absolute().as_posix()
  found = [letter for letter in ("\\" if read_only else "[\\") if letter in path]
  if found:
    raise ValueError(
      f"checkpoints cannot be kept in {path}: choose a directory without {found[0]} in its path"
    )


class Checkpoints:
  """The checkpoints of a run directory, saved in the background.

  Orbax writes a checkpoint into a temporary folder and renames it when all is there. Just before,
  a manifest of hashes is written, which is verified before anything is restored: Orbax itself
  restores a flipped bit without a word.

  Args:
    directory: Folder of the checkpoints; made if it is not there, unless only read.
    kept: How many of the last ones stay on disk; None keeps all.
    keep_best: Whether the one of highest validation accuracy stays too.
    read_only: Whether nothing is to be changed, since another process may be writing.

  Raises:
    ValueError: If :func:`check_directory` refuses it.
  """

  def __init__(
    self,
    directory: Path,
    *,
    kept: int | None = None,
    keep_best: bool = False,
    read_only: bool = False,
  ):
    check_directory(directory, read_only=read_only)
    self.keep_best = keep_best
    self._directory = Path(directory).absolute()
    self._saving: int | None = None
    self._failed = False
    policies = [LatestN(n=kept)]
    if keep_best:
      policies.append(BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=AnyPreservationPolicy(policies),
      best_fn=_accuracy,
      read_only=read_only,
      save_interval_steps=0 if read_only else 1,  # It would say that it makes it so.
      create=not read_only,
      cleanup_tmp_directories=not read_only,
      async_options=ocp.AsyncOptions(post_finalization_callback=self._write_manifest),
    )
    handlers = {"state": ocp.PyTreeCheckpointHandler(), "notes": ocp.JsonCheckpointHandler()}
    with self._damage_named("the checkpoints"), _without_saying("Given directory is read only"):
      self._manager = ocp.CheckpointManager(
        self._directory, options=options, item_handlers=handlers
      )

  def latest_step(self) -> int | None:
    """Return the step of the last whole checkpoint, or None."""
    return self._manager.latest_step()

  def best_step(self) -> int | None:
    """Return the step of the checkpoint of highest validation accuracy, or None.

    Raises:
      DamagedCheckpoint: If the accuracy of one is not what was written.
    """
    with self._failing_in_one_line():
      self._manager.wait_until_finished()
    for step in self.steps():
      damage = find_damage(self._directory / str(step), part="metrics/")
      if damage:
        raise DamagedCheckpoint(f"checkpoint {step} in {self._directory} is damaged: {damage}")
    with self._damage_named("the checkpoints"):
      return self._manager.best_step()

  def steps(self) -> list[int]:
    """Return the steps of all whole checkpoints in their order."""
    return sorted(self._manager.all_steps())

  def save(
    self, state: TrainState, notes: Mapping[str, Any], *, accuracy: float | None = None
  ) -> None:
    """Save in the background; a step that is there already is left as it is.

    Args:
      state: The state.
      notes: Plain values to keep beside it.
      accuracy: Its accuracy on validation images, if it was measured.

    Raises:
      OSError: If this checkpoint, or the one before it, could not be written.
    """
    step = int(state.step)
    if step == self._manager.latest_step():
      return
    with self._failing_in_one_line():
      self._manager.wait_until_finished()
      self._saving = step
      _check_space(self._directory, _arrays(state))
      self._manager.save(
        step,
        metrics=None if accuracy is None else {"accuracy": accuracy},
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(_arrays(state)),
          # They are written in the background, when the caller may have changed his.
          notes=ocp.args.JsonSave(copy.deepcopy(dict(notes))),
        ),
      )

  def restore(
    self, state: TrainState, *, step: int | None = None
  ) -> tuple[TrainState, dict[str, Any]]:
    """Restore a checkpoint onto the devices, and with the shapes, of ``state``.

    Args:
      state: The state to restore into.
      step: The checkpoint's step; None takes the last one.

    Returns:
      The state and its notes.

    Raises:
      FileNotFoundError: If there is none, or none of that step.
      DamagedCheckpoint: If its files are not those that were written.
      ValueError: If its arrays are not those of ``state``.
    """
    restored, notes = self._restore(_arrays(state), step)
    return state.replace(**restored), notes

  def restore_variables(
    self, variables: Mapping[str, Any], *, step: int | None = None
  ) -> dict[str, Any]:
    """Restore what a network needs to predict; how it was trained is neither read nor compared.

    Args:
      variables: Its parameters and statistics, or their shapes and dtypes.
      step: The checkpoint's step; None takes the last one.

    Returns:
      The checkpoint's, on the devices of ``variables``; NumPy arrays where it says no devices.

    Raises:
      FileNotFoundError: If there is none, or none of that step.
      DamagedCheckpoint: If its files, of any part, are not those that were written.
      ValueError: If its arrays are not those of ``variables``.
    """
    return self._restore(dict(variables), step, without=("step", "opt_state"))[0]

  def _restore(
    self, tree: dict[str, Any], step: int | None, *, without: Collection[str] = ()
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Restore a tree, which is all that was saved but for some parts, and the notes."""
    with self._failing_in_one_line():
      self._manager.wait_until_finished()
    step = self._manager.latest_step() if step is None else step
    if step is None:
      raise FileNotFoundError(f"no checkpoint in {self._directory}")
    if not (self._directory / str(step)).is_dir():
      kept = ", ".join(map(str, self.steps())) or "none"
      raise FileNotFoundError(f"no checkpoint {step} in {self._directory}; kept are: {kept}")
    damage = find_damage(self._directory / str(step))
    if damage:
      raise DamagedCheckpoint(f"checkpoint {step} in {self._directory} is damaged: {damage}")
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
    with self._damage_named(f"checkpoint {step}"):
      saved = self._manager.item_metadata(step).state.tree
      kept = {name: part for name, part in saved.items() if name not in without}
      different = _differences(kept, abstract)
    if different:
      raise ValueError(
        f"checkpoint {step} in {self._directory} is not of this network: " + "; ".join(different)
      )
    with self._damage_named(f"checkpoint {step}"):
      restored = self._manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeRestore(
            abstract,
            restore_args=jax.tree.map(_restore_args, abstract),
            partial_restore=bool(without),
          ),
          notes=ocp.args.JsonRestore(),
        ),
      )
    return restored.state, restored.notes

  def restore_last(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
    """Restore the last checkpoint that is not damaged; None if there is no checkpoint.

    Later ones are set aside under a name of their own, and a warning is logged of each.

    Args:
      state: The state to restore into.

    Raises:
      DamagedCheckpoint: If all are damaged; they are left as they are.
      ValueError: If the arrays are not those of ``state``.
    """
    if not self.steps():
      return None
    step = on_first(self._set_damaged_aside)
    self._manager.reload()
    return self.restore(state, step=step)

  def _set_damaged_aside(self) -> int:
    """Leave no damaged checkpoint behind the last undamaged one, and return that one's step."""
    damages = {}
    for step in reversed(self.steps()):
      damage = find_damage(self._directory / str(step))
      if damage is None:
        break
      damages[step] = damage
    else:
      listed = "; ".join(f"{step}: {damage}" for step, damage in damages.items())
      raise DamagedCheckpoint(f"no checkpoint in {self._directory} is undamaged ({listed})")
    for damaged, damage in damages.items():
      aside = _set_aside(self._directory / str(damaged))
      _logger.warning(
        "checkpoint %d is damaged (%s): set aside as %s, going on from step %d",
        damaged, damage, aside, step,
      )  # fmt: skip
    return step

  def close(self) -> None:
    """Wait until everything is on disk.

    Raises:
      OSError: If the last checkpoint could not be written.
    """
    if self._failed:
      return  # It is closed, and what there was to say has been said.
    with self._failing_in_one_line():
      self._manager.close()

  def _write_manifest(self) -> None:
    """Hash what was written, before the folder gets its name."""
    for folder in self._directory.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
      digests = {name: _digest(path) for name, path in _files_of(folder).items()}
      write_atomically(folder / MANIFEST, (json.dumps({"sha256": digests}) + "\n").encode())

  @contextlib.contextmanager
  def _damage_named(self, what: str) -> Iterator[None]:
    """Make one error of whatever Orbax raises on what is forged, or has no hash and is damaged."""
    try:
      yield
    except (MemoryError, OSError, jax.errors.JaxRuntimeError):
      raise  # Not of what was read.
    except Exception as error:
      raise DamagedCheckpoint(
        f"{what} in {self._directory} cannot be read: {one_line(error)}"
      ) from error

  @contextlib.contextmanager
  def _failing_in_one_line(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      # The storage layer adds where in its source an error arose.
      reason = " ".join(str(error).partition("[source locations")[0].split())
      self._failed = True
      for _ in range(2):  # Each of its two threads raises the error once more.
        with contextlib.suppress(Exception):
          self._manager.close()
      self._manager.reload()
      whole = ", ".join(map(str, self.steps())) or "none"
      raise OSError(
        f"checkpoint {self._saving} could not be saved in {self._directory} ({reason}); "
        f"whole ones: {whole}"
      ) from error


@contextlib.contextmanager
def _without_saying(beginning: str) -> Iterator[None]:
  """Leave lines that begin so out of Orbax's logs, while the context lasts."""

  def is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(beginning)

  logger = logging.getLogger("absl")
  logger.addFilter(is_wanted)
  try:
    yield
  finally:
    logger.removeFilter(is_wanted)


def silence() -> None:
  """Show neither what Orbax logs of a failed save, which is raised too, nor transfers it abandons.

  It changes loggers and a hook of the process: for programs, such as the command line, and not for
  whoever imports the library.
  """
  for logger in ("absl", "asyncio"):
    logging.getLogger(logger).setLevel(logging.CRITICAL)
  report = sys.unraisablehook
  if getattr(report, "is_silent", False):
    return  # It has been called before.

  def report_unless_abandoned(unraisable: Any) -> None:
    error = unraisable.exc_value
    # A write comes back to an event loop that was closed when the failure was raised; a read makes
    # an error of its own of being thrown away.
    if str(error) != "Event loop is closed" and not isinstance(error.__cause__, GeneratorExit):
      report(unraisable)

  report_unless_abandoned.is_silent = True
  sys.unraisablehook = report_unless_abandoned


def _check_space(directory: Path, arrays: Any) -> None:
  """Raise OSError where a checkpoint does not fit, instead of writing half of it."""
  needed = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
  free = shutil.disk_usage(directory).free
  if free < needed:
    raise OSError(f"it takes {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free")


def find_damage(folder: Path, *, part: str = "") -> str | None:
  """Tell what is wrong with the files of a checkpoint; None if they are what was written.

  Args:
    folder: The checkpoint.
    part: What the names of the files begin with that are looked at.
  """
  if not (folder / MANIFEST).is_file():
    return f"{MANIFEST} is missing"
  try:
    expected = read_json(folder / MANIFEST)["sha256"]
    # Files are found on disk and looked up in the manifest, whose names lead nowhere.
    found = _files_of(folder)
    for name in sorted({*expected, *found}):
      if not name.startswith(part):
        continue
      if name not in found:
        return one_line(f"{name} is missing")
      if name not in expected:
        return one_line(f"{name} was not written with it")
      if _digest(found[name]) != expected[name]:
        return one_line(f"{name} is not what was written")
  except (AttributeError, KeyError, TypeError, ValueError):
    return f"{MANIFEST} is not what was written"
  except OSError as error:
    return str(error)
  return None


def _files_of(folder: Path) -> dict[str, Path]:
  """Find the files of a checkpoint that have a hash, by the names that the manifest gives them."""
  found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
  return {name: path for name, path in found.items() if path.is_file() and name not in _UNVERIFIED}


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _set_aside(folder: Path) -> Path:
  """Give a folder a name that is no checkpoint's."""
  number = 1
  while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
    number += 1
  return folder.rename(aside)


def _accuracy(metrics: Mapping[str, float]) -> float:
  return metrics["accuracy"]


def _arrays(state: TrainState) -> dict:
  return {
    "step": state.step,
    "params": state.params,
    "batch_stats": state.batch_stats,
    "opt_state": state.opt_state,
  }


def _restore_args(leaf: jax.ShapeDtypeStruct) -> ocp.RestoreArgs:
  """Say where an array goes, which Orbax else infers from where it was: maybe not here."""
  if leaf.sharding is None:
    return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
  return ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)


def _differences(saved: Any, expected: Any) -> list[str]:
  """List arrays that only one of two trees has, or that differ in type or shape, a few at most."""
  saved, expected = ocp.tree.to_flat_dict(saved), ocp.tree.to_flat_dict(expected)
  lines = []
  for path in dict.fromkeys([*expected, *saved]):
    ours, theirs = (
      f"{tree[path].dtype}{list(tree[path].shape)}" if path in tree else None
      for tree in (expected, saved)
    )
    if ours != theirs:
      name = "/".join(map(str, path))
      lines.append(f"{name} is {theirs or 'missing'} there, {ours or 'unknown'} here")
  return [*lines[:3], f"{len(lines) - 3} more"] if len(lines) > 3 else lines
