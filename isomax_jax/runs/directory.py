"""Run directories: opened for training, by one process and from one config, and read."""

import contextlib
import importlib.util
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isomax_jax import _checks, data
from isomax_jax._files import is_temporary, naming, read_json, read_json_lines, write_atomically
from isomax_jax.runs.environment import environment
from isomax_jax.training import TrainConfig, differences, from_json, to_json
from isomax_jax.training.checkpoints import check_directory
from isomax_jax.training.processes import on_first

CONFIG, SPEC, DECISION, METRICS = "config.json", "data.json", "decision.json", "metrics.jsonl"
"""Files of a run directory. ``data.json`` describes the set that it was trained on, which is enough
to predict where the set itself is not; ``decision.json`` is the last that training writes."""
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
"""The file that the process that trains locks."""

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_directory(
  workdir: Path, config: TrainConfig, spec: data.DataSpec, *, fresh: bool
) -> Iterator[None]:
  """Make a directory a run of a config, or check that it is one, and keep other processes out.

  Args:
    workdir: The directory.
    config: The config.
    spec: What is known of the set that it names.
    fresh: Whether what the directory holds of an earlier run is deleted first.

  Raises:
    ValueError: If the directory holds something else or a run of another config or set, another
      process is training in it, or :func:`isomax_jax.runs.environment.environment` or
      :func:`isomax_jax.training.checkpoints.check_directory` refuses.
    OSError: If it cannot be written to.
  """
  with contextlib.ExitStack() as stack:

    def open_it() -> int:
      check_directory(workdir)
      if not (workdir / CONFIG).exists() and _holds_something_else(workdir):
        raise ValueError(f"{workdir} is neither empty nor a run directory: choose another")
      surroundings = environment()  # Before anything is written: it may be refused.
      workdir.mkdir(parents=True, exist_ok=True)
      stack.enter_context(_lock(workdir))
      if (workdir / CONFIG).exists():
        if fresh:
          _clear(workdir)
        else:
          _check_same_run(workdir, config, spec)
      write_atomically(workdir / CONFIG, json_bytes(to_json(config)))
      write_atomically(workdir / "environment.json", json_bytes(surroundings))
      write_atomically(workdir / SPEC, json_bytes(data.spec_to_json(spec)))
      return 0

    on_first(open_it)
    yield


def _holds_something_else(workdir: Path) -> bool:
  """Tell whether a directory holds more than what a run leaves that was killed at its start."""
  if not workdir.is_dir():
    return workdir.exists()
  return any(path.name != LOCK and not is_temporary(path) for path in workdir.iterdir())


@contextlib.contextmanager
def _lock(workdir: Path) -> Iterator[None]:
  """Keep other processes from training in a directory; the system lets go of it at any end."""
  if importlib.util.find_spec("filelock") is None:
    _logger.warning(
      "%s is not locked, as the package filelock is missing: let no other process train in it",
      workdir,
    )
    yield
    return
  import filelock

  lock = filelock.FileLock(workdir / LOCK)
  try:
    lock.acquire(blocking=False)
  except filelock.Timeout:
    raise ValueError(
      f"another process is training in {workdir}: let it end, or choose another directory"
    ) from None
  try:
    yield
  finally:
    lock.release()


def _check_same_run(workdir: Path, config: TrainConfig, spec: data.DataSpec) -> None:
  """Check that a directory's run is of this config and of the set that is there."""
  different = differences(read_config(workdir), config)
  if different:
    raise ValueError(
      f"{workdir} holds a run of another config ({'; '.join(different)}); "
      "choose another directory, or start it afresh"
    )
  before = read_spec(workdir) or spec
  for field in ("example_shape", "class_names", "splits"):
    if getattr(before, field) != getattr(spec, field):
      raise ValueError(
        f"{workdir} holds a run on {spec.name} with other {field}; choose another directory, or "
        "start it afresh"
      )


def _clear(workdir: Path) -> None:
  """Delete what a run writes, and nothing else."""
  for name in (CHECKPOINTS, "tensorboard"):
    shutil.rmtree(workdir / name, ignore_errors=True)
  for pattern in ("*.json", "*.jsonl", "*.npz", "report.html"):
    for path in workdir.glob(pattern):
      path.unlink()


def json_bytes(values: Any) -> bytes:
  """Return what a JSON file of a run holds."""
  return (json.dumps(values, indent=2) + "\n").encode()


def steps_per_epoch(run_dir: Path) -> float | None:
  """Return the steps of an epoch as the log counts them; None where nothing was logged."""
  path = run_dir / METRICS
  logged = next(iter(read_json_lines(path)), None) if path.exists() else None
  if logged is None:
    return None
  with naming(path):
    for key in ("step", "epoch"):
      _checks.positive(key, logged.get(key))
  return logged["step"] / logged["epoch"]


def read_spec(run_dir: Path) -> data.DataSpec | None:
  """Read the description that a run keeps of its set, if it keeps one.

  Raises:
    ValueError: If it cannot be read.
  """
  path = run_dir / SPEC
  if not path.exists():
    return None
  values = read_json(path)
  with naming(path):
    return data.spec_from_json(values)


def read_config(run_dir: Path) -> TrainConfig:
  """Read the config of a run directory.

  Raises:
    ValueError: If the directory is not a run, or its config cannot be read.
  """
  path = run_dir / CONFIG
  if not path.is_file():
    raise ValueError(f"{run_dir} is not a run directory: config.json is missing")
  values = read_json(path)
  with naming(path):
    return from_json(values)
