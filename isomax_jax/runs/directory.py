"""Run directories, opened for training and read."""

import contextlib
import fcntl
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
to predict where the set itself is missing; ``decision.json`` is the last that training writes."""
CHECKPOINTS = "checkpoints"
_LOCK = ".lock"

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def open_directory(
  workdir: Path, config: TrainConfig, spec: data.DataSpec, *, fresh: bool
) -> Iterator[None]:
  """Create a config's run directory, or check an existing one, and lock it while the context lasts.

  ``fresh`` deletes an earlier run in it first. ValueError is raised if it holds something else or a
  run of another config or set, another process trains in it, or it is no place for checkpoints.
  """
  with contextlib.ExitStack() as stack:

    def open_it() -> int:
      check_directory(workdir)
      _check_kept(config)
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


def _check_kept(config: TrainConfig) -> None:
  """Raise ValueError unless a config is read back as it is written."""
  with naming(f"config cannot be kept in {CONFIG}"):
    kept = from_json(json.loads(json_bytes(to_json(config))))
  if kept != config:
    different = "; ".join(differences(config, kept))
    raise ValueError(f"config would be read back from {CONFIG} as another one ({different})")


def _holds_something_else(workdir: Path) -> bool:
  """Tell whether a path holds more than what a run leaves that was killed at its start."""
  if not workdir.is_dir():
    return workdir.exists()
  return any(path.name != _LOCK and not is_temporary(path) for path in workdir.iterdir())


@contextlib.contextmanager
def _lock(workdir: Path) -> Iterator[None]:
  """Keep other processes from training in a directory; the system unlocks it however this ends."""
  with (workdir / _LOCK).open("a") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # Which one, depends on the file system.
      raise ValueError(
        f"another process is training in {workdir}: let it end, or choose another directory"
      ) from None
    except OSError as error:  # Not every shared file system has locks.
      _logger.warning("%s is not locked (%s): let no other process train in it", workdir, error)
    yield


def _check_same_run(workdir: Path, config: TrainConfig, spec: data.DataSpec) -> None:
  """Raise ValueError unless a directory's run is of this config and set."""
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
  """Delete what a run wrote, and nothing else."""
  for name in (CHECKPOINTS, "tensorboard"):
    shutil.rmtree(workdir / name, ignore_errors=True)
  for pattern in ("*.json", "*.jsonl", "*.npz", "report.html"):
    for path in workdir.glob(pattern):
      path.unlink()


def json_bytes(values: Any) -> bytes:
  """Return values as the text of a run's JSON file."""
  return (json.dumps(values, indent=2) + "\n").encode()


def steps_per_epoch(run_dir: Path) -> float | None:
  """Return the steps of an epoch, from the log; None where nothing was logged."""
  path = run_dir / METRICS
  logged = next(iter(read_json_lines(path)), None) if path.exists() else None
  if logged is None:
    return None
  with naming(path):
    for key in ("step", "epoch"):
      _checks.positive(key, logged.get(key))
  return logged["step"] / logged["epoch"]


def read_spec(run_dir: Path) -> data.DataSpec | None:
  """Read a run's description of its set; None if it has none, ValueError if it is damaged."""
  path = run_dir / SPEC
  if not path.exists():
    return None
  values = read_json(path)
  with naming(path):
    return data.spec_from_json(values)


def read_config(run_dir: Path) -> TrainConfig:
  """Read a run's config, or raise ValueError if the directory is no run or the file damaged."""
  path = run_dir / CONFIG
  if not path.is_file():
    raise ValueError(f"{run_dir} is not a run directory: config.json is missing")
  values = read_json(path)
  with naming(path):
    return from_json(values)
