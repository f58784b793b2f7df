"""Checkpoints of the train state, verified by hashes before they are restored."""

import contextlib
import copy
import dataclasses
import hashlib
import json
import logging
import operator
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
  AnyPreservationPolicy,
  BestN,
  LatestN,
  PreservationPolicy,
)

from isomax_jax._files import one_line, read_json, write_atomically
from isomax_jax.training.processes import on_first
from isomax_jax.training.state import TrainState

MANIFEST = "manifest.json"
"""In a checkpoint, the SHA-256 of each of its files; written last."""
# Orbax rewrites these at the end; nothing that is restored is in them.
_UNVERIFIED = (MANIFEST, "_CHECKPOINT_METADATA", "commit_success.txt")

_logger = logging.getLogger(__name__)


class DamagedCheckpoint(ValueError):  # noqa: N818 (it says what it is)
  """The files of a checkpoint are not what was written."""


def check_directory(directory: Path, *, read_only: bool = False) -> None:
  """Raise ``ValueError`` if no checkpoint that is written to this directory could be read.

  Orbax globs the path when it merges the parts of a checkpoint, finds none, and reports success;
  a checkpoint that was moved there can be read. TensorStore takes backslashes for slashes.
  """
  path = Path(directory).absolute().as_posix()
  found = [letter for letter in ("\\" if read_only else "[\\") if letter in path]
  if found:
    raise ValueError(
      f"checkpoints cannot be kept in {path}: choose a directory without {found[0]} in its path"
    )


class Checkpoints:
  """The checkpoints of a run directory, saved in the background.

  Orbax writes a checkpoint into a temporary folder and renames it when it is complete. Just before,
  a manifest of hashes is written, which is verified before anything is restored: Orbax itself
  restores flipped bits silently.

  Args:
    directory: Folder of the checkpoints; created if missing, unless ``read_only``. Must pass
      :func:`check_directory`.
    kept: How many of the last ones stay on disk; None keeps all.
    keep_best: Whether the one of highest validation accuracy stays too.
    read_only: Whether to change nothing, since another process may be writing.
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
    accuracy = operator.itemgetter("accuracy")
    policies: list[PreservationPolicy] = [LatestN(n=kept)]
    if keep_best:
      policies.append(BestN(get_metric_fn=accuracy, n=1, keep_checkpoints_without_metrics=False))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=AnyPreservationPolicy(policies),
      best_fn=accuracy,
      read_only=read_only,
      save_interval_steps=0 if read_only else 1,  # Orbax would log that it sets it so.
      create=not read_only,
      cleanup_tmp_directories=not read_only,
      async_options=ocp.AsyncOptions(post_finalization_callback=self._write_manifest),
    )
    handlers = {"state": ocp.PyTreeCheckpointHandler(), "notes": ocp.JsonCheckpointHandler()}
    with self._damage_named("the checkpoints"), _without_logging("Given directory is read only"):
      self._manager = ocp.CheckpointManager(
        self._directory, options=options, item_handlers=handlers
      )

  def latest_step(self) -> int | None:
    """Return the step of the last complete checkpoint, or None."""
    return self._manager.latest_step()

  def best_step(self) -> int | None:
    """Return the step of highest validation accuracy, or None; raise if an accuracy is damaged."""
    with self._failing_in_one_line():
      self._manager.wait_until_finished()
    for step in self.steps():
      self._check_undamaged(step, part="metrics/")
    with self._damage_named("the checkpoints"):
      return self._manager.best_step()

  def steps(self) -> list[int]:
    """Return the steps of all complete checkpoints, sorted."""
    return sorted(self._manager.all_steps())

  def save(
    self, state: TrainState, notes: Mapping[str, Any], *, accuracy: float | None = None
  ) -> None:
    """Save in the background, unless the last checkpoint is of the same step.

    Args:
      state: The state.
      notes: JSON values to keep beside it.
      accuracy: Its accuracy on the validation images, if measured.

    Raises:
      OSError: If this checkpoint, or the one before it, could not be written.
    """
    step, arrays = int(state.step), _arrays(state)
    if step == self._manager.latest_step():
      return
    with self._failing_in_one_line(), _without_logging("Requested `tracked_metric`"):
      self._manager.wait_until_finished()
      self._saving = step
      needed = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
      free = shutil.disk_usage(self._directory).free
      if free < needed:  # Instead of writing half of it.
        raise OSError(f"it takes {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free")
      self._manager.save(
        step,
        metrics=None if accuracy is None else {"accuracy": accuracy},
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(arrays),
          # Written in the background, when the caller may have changed the original.
          notes=ocp.args.JsonSave(copy.deepcopy(dict(notes))),
        ),
      )

  def restore(
    self, state: TrainState, *, step: int | None = None
  ) -> tuple[TrainState, dict[str, Any]]:
    """Restore the state and notes of a step, by default the last, onto the devices of ``state``.

    Raises:
      FileNotFoundError: If there is no checkpoint, or none of that step.
      DamagedCheckpoint: If it is damaged.
      ValueError: If its arrays are not those of ``state``.
    """
    restored, notes = self._restore(_arrays(state), step)
    return state.replace(**restored), notes

  def restore_variables(
    self, variables: Mapping[str, Any], *, step: int | None = None
  ) -> dict[str, Any]:
    """Restore the parameters and statistics alone, whatever optimiser trained them.

    They are put onto the devices of ``variables``, or are NumPy arrays where it has shapes and
    dtypes without devices. Raises as :meth:`restore` does.
    """
    return self._restore(dict(variables), step, without=("step", "opt_state"))[0]

  def _restore(
    self, tree: dict[str, Any], step: int | None, *, without: Collection[str] = ()
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Restore a tree, which is all that was saved ``without`` some parts, and the notes."""
    with self._failing_in_one_line():
      self._manager.wait_until_finished()
    step = self._manager.latest_step() if step is None else step
    if step is None:
      raise FileNotFoundError(f"no checkpoint in {self._directory}")
    if not (self._directory / str(step)).is_dir():
      kept = ", ".join(map(str, self.steps())) or "none"
      raise FileNotFoundError(f"no checkpoint {step} in {self._directory}; kept are: {kept}")
    self._check_undamaged(step)
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
    return restored["state"], restored["notes"]

  def restore_last(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
    """Restore the last undamaged checkpoint; None if there is no checkpoint.

    Later ones are renamed, and a warning is logged for each. Raises as :meth:`restore` does, or if
    all are damaged, which are then left as they are.
    """
    if not self.steps():
      return None
    step = on_first(self._set_damaged_aside)
    self._manager.reload()
    return self.restore(state, step=step)

  def _set_damaged_aside(self) -> int:
    """Set aside the checkpoints after the last undamaged one, and return its step."""
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
      folder, number = self._directory / str(damaged), 1
      while (aside := folder.with_name(f"{damaged}.damaged-{number}")).exists():
        number += 1
      folder.rename(aside)
      _logger.warning(
        "checkpoint %d is damaged (%s): set aside as %s, going on from step %d",
        damaged, damage, aside, step,
      )  # fmt: skip
    return step

  def close(self) -> None:
    """Wait until everything is on disk; raise OSError if the last save failed."""
    if self._failed:
      return  # Closed already, and the failure has been raised.
    with self._failing_in_one_line():
      self._manager.close()

  def _check_undamaged(self, step: int, *, part: str = "") -> None:
    damage = find_damage(self._directory / str(step), part=part)
    if damage:
      raise DamagedCheckpoint(f"checkpoint {step} in {self._directory} is damaged: {damage}")

  def _write_manifest(self) -> None:
    """Hash the files before the folder gets its final name."""
    for folder in self._directory.glob(f"{self._saving}.orbax-checkpoint-tmp*"):
      digests = {name: _digest(path) for name, path in _files_of(folder).items()}
      write_atomically(folder / MANIFEST, (json.dumps({"sha256": digests}) + "\n").encode())

  @contextlib.contextmanager
  def _damage_named(self, what: str) -> Iterator[None]:
    """Raise DamagedCheckpoint for what Orbax raises on forged, or unverified and damaged, files."""
    try:
      yield
    except (MemoryError, OSError, jax.errors.JaxRuntimeError):
      raise  # Not because of the content.
    except Exception as error:
      raise DamagedCheckpoint(
        f"{what} in {self._directory} cannot be read: {one_line(error)}"
      ) from error

  @contextlib.contextmanager
  def _failing_in_one_line(self) -> Iterator[None]:
    """Raise OSError of one line for whatever a save raises."""
    try:
      yield
    except Exception as error:
      # The storage layer appends its source locations.
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
def _without_logging(prefix: str) -> Iterator[None]:
  """Drop log messages of Orbax that start with the prefix."""

  def is_wanted(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(prefix)

  logger = logging.getLogger("absl")
  logger.addFilter(is_wanted)
  try:
    yield
  finally:
    logger.removeFilter(is_wanted)


def silence() -> None:
  """Hide what Orbax logs of failed saves, which raise too, and of transfers that it abandons.

  This changes loggers and a hook of the process: for programs such as the command line, not for
  importers of the library.
  """
  for logger in ("absl", "asyncio"):
    logging.getLogger(logger).setLevel(logging.CRITICAL)
  if not isinstance(sys.unraisablehook, _UnlessAbandoned):  # As it is if called before.
    sys.unraisablehook = _UnlessAbandoned(sys.unraisablehook)


@dataclasses.dataclass(frozen=True)
class _UnlessAbandoned:
  """A hook for what cannot be raised, which reports all but what Orbax's abandoned work raises."""

  report: Callable[[Any], object]

  def __call__(self, unraisable: Any) -> None:
    error = unraisable.exc_value
    # A write returns to an event loop that the failure closed; a read raises when it is discarded.
    if str(error) != "Event loop is closed" and not isinstance(error.__cause__, GeneratorExit):
      self.report(unraisable)


def find_damage(folder: Path, *, part: str = "") -> str | None:
  """Return what is wrong with a checkpoint's files whose names start with ``part``, or None."""
  if not (folder / MANIFEST).is_file():
    return f"{MANIFEST} is missing"
  try:
    expected = read_json(folder / MANIFEST)["sha256"]
    # Files are found on disk and looked up in the manifest: its names are never opened.
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
  """Return the files of a checkpoint that are hashed, by their names in the manifest."""
  found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
  return {name: path for name, path in found.items() if path.is_file() and name not in _UNVERIFIED}


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _arrays(state: TrainState) -> dict[str, Any]:
  return {name: getattr(state, name) for name in ("step", "params", "batch_stats", "opt_state")}


def _restore_args(leaf: jax.ShapeDtypeStruct) -> ocp.RestoreArgs:
  """Say where an array goes: Orbax would put it where it was, which may not exist here."""
  if leaf.sharding is None:
    return ocp.RestoreArgs(restore_type=np.ndarray, dtype=leaf.dtype)
  return ocp.ArrayRestoreArgs(sharding=leaf.sharding, global_shape=leaf.shape, dtype=leaf.dtype)


def _differences(saved: Any, expected: Any) -> list[str]:
  """List the first arrays that differ in dtype or shape, or that only one of two trees has."""
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
