"""Small files read and written with errors of one line that name the file."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# What a damaged archive raises, depending on where it is damaged; TypeError comes of a single
# array, which is no context manager.
_UNREADABLE = (
  EOFError, KeyError, NotImplementedError, OSError, RuntimeError, TypeError, ValueError,
  zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def write_atomically(path: Path, data: bytes) -> None:
  """Write ``data`` so that ``path`` holds either what it held before or all of it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  # A sibling, because os.replace is atomic only within one file system; named by the process, so
  # that two writers never share one.
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    temporary.write_bytes(data)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
  """Tell whether a file is what :func:`write_atomically` leaves when it is killed."""
  return path.name.startswith(".") and path.name.endswith(".tmp")


def is_json_object(line: bytes) -> bool:
  """Tell whether a line is a whole JSON object: one cut short lacks its closing brace."""
  try:
    return isinstance(json.loads(line), dict)
  except ValueError:
    return False


def read_json(path: Path) -> dict[str, Any]:
  """Return the object of a JSON file, or raise ValueError naming the file."""
  try:
    value = json.loads(path.read_bytes())
  except ValueError as error:
    raise ValueError(f"{path}: not valid JSON ({error})") from None
  if not isinstance(value, dict):
    raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
  return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
  """Return the objects of a JSON lines file in their order.

  A last line without its newline is skipped unless it is whole: it is what a killed or a still
  writing process leaves.

  Args:
    path: The file.

  Returns:
    One dictionary a line.

  Raises:
    ValueError: If a line is not a JSON object; the message names file and line number.
  """
  lines = path.read_bytes().split(b"\n")
  if not is_json_object(lines[-1]):
    lines.pop()
  for number, line in enumerate(lines, start=1):
    if not is_json_object(line):
      raise ValueError(f"{path}, line {number}: not a JSON object")
  return [json.loads(line) for line in lines]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
  """Return the arrays of an npz file in their order, or raise ValueError naming the file."""
  try:
    # Opened here, because NumPy leaves a file that it cannot read open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
      return {key: arrays[key] for key in arrays.files}
  except _UNREADABLE as error:
    raise ValueError(f"{path}: not a readable npz file ({error})") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Write arrays as a compressed ``.npz``, atomically."""
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  write_atomically(path, buffer.getvalue())
