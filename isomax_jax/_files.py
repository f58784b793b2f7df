"""Reading and writing of small files, with one-line errors that name the file."""

import contextlib
import fcntl
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAX_JSON_BYTES = 2**26
"""Largest JSON file that is read: more than any that is written here."""
MAX_ARRAY_BYTES = 2**30
"""Largest total size of a file's arrays, unpacked."""
_MAX_DEPTH = 64
_LONGEST_LINE = 500


@contextlib.contextmanager
def naming(place: Path | str) -> Iterator[None]:
  """Turn TypeError and ValueError into a ValueError of one line that starts with the place."""
  try:
    yield
  except (TypeError, ValueError) as error:
    raise ValueError(f"{place}: {one_line(error)}") from error


def one_line(error: BaseException | str) -> str:
  """Return an error's message on one line, or its type if it has none."""
  text = " ".join(str(error).split()) or type(error).__name__
  return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."


def printable(text: str) -> str:
  r"""Return text of any origin as it can be shown on one line of a terminal.

  Example:
    >>> printable("résumé.png"), printable("a\nb\x1b[2J.png"), printable("\udcff.png")
    ('résumé.png', 'a\\nb\\x1b[2J.png', '\\udcff.png')
  """
  return "".join(
    letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
  )


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
  """Return whether a file is one that :func:`write_atomically` leaves when it is killed."""
  return path.name.startswith(".") and path.name.endswith(".tmp")


def parse_json(data: bytes) -> Any:
  """Return the value of JSON text of any origin, or raise ValueError, never anything else.

  Refused, besides what is no JSON: duplicate keys, of which one would be lost; integers beyond 64
  bits, which arithmetic may refuse; half of a surrogate pair, which cannot be written; and nesting
  so deep that Python's stack may not suffice to walk it.
  """
  # Not msgspec, which keeps the last of two equal keys and takes integers of any size. Nor does it
  # read what follows: objectives that others register are plain dataclasses, older configs hold
  # options of all of them, and records check their types where they are made, not only where read.
  try:
    value = json.loads(data, object_pairs_hook=_without_duplicates, parse_int=_parse_int)
  except RecursionError:
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep") from None
  _check_depth_and_text(value, _MAX_DEPTH)
  return value


def _check_depth_and_text(value: Any, levels: int) -> None:
  if levels == 0:
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
  if isinstance(value, str):
    value.encode()
  elif isinstance(value, dict | list):
    children = [*value, *value.values()] if isinstance(value, dict) else value
    for child in children:
      _check_depth_and_text(child, levels - 1)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  values = dict(pairs)
  if len(values) < len(pairs):
    keys = [key for key, _ in pairs]
    twice = next(key for key in keys if keys.count(key) > 1)
    raise ValueError(f"{twice[:80]!r} is there twice")
  return values


def _parse_int(digits: str) -> int:
  if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
    raise ValueError(f"an integer of {len(digits)} digits does not fit into 64 bits")
  return int(digits)


def is_json_object(line: bytes) -> bool:
  """Return whether a line is a whole JSON object: one cut short lacks its closing brace."""
  try:
    return isinstance(parse_json(line), dict)
  except ValueError:
    return False


def read_json(path: Path) -> dict[str, Any]:
  """Return the object of a JSON file, or raise ValueError naming the file."""
  data = _read(path)
  try:
    value = parse_json(data)
  except ValueError as error:
    raise ValueError(f"{path}: not valid JSON ({error})") from None
  if not isinstance(value, dict):
    raise ValueError(f"{path}: expected a JSON object, got {type(value).__name__}")
  return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
  """Return the objects of a JSON lines file, or raise ValueError naming file and line number.

  A last line without its newline is skipped unless it is whole: it is what a killed or a still
  writing process leaves.
  """
  lines = _read(path).split(b"\n")
  if not is_json_object(lines[-1]):
    lines.pop()
  values = []
  for number, line in enumerate(lines, start=1):
    try:
      values.append(parse_json(line))
      if not isinstance(values[-1], dict):
        raise ValueError("not a JSON object")
    except ValueError as error:
      reason = "not a JSON object" if isinstance(error, json.JSONDecodeError) else error
      raise ValueError(f"{path}, line {number}: {reason}") from None
  return values


def append_json_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
  """Append objects to a file, one JSON line each, in one write; make it where there is none.

  A last line that a killed process left unfinished is cut first. The file is locked meanwhile, so
  several processes may append to one file.
  """
  lines = [json.dumps(value, ensure_ascii=False) + "\n" for value in values]
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open("a+b") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.seek(0)
    rest = file.read().rpartition(b"\n")[2]
    if is_json_object(rest):
      file.write(b"\n")
    else:
      file.truncate(file.tell() - len(rest))
    file.write("".join(lines).encode())


def _read(path: Path) -> bytes:
  with path.open("rb") as file:
    data = file.read(MAX_JSON_BYTES + 1)
  if len(data) > MAX_JSON_BYTES:
    raise ValueError(f"{path}: larger than {MAX_JSON_BYTES >> 20} MiB")
  return data


def read_arrays(path: Path) -> dict[str, np.ndarray]:
  """Return the arrays of an npz file in their order, or raise ValueError naming the file.

  Not by ``np.load``, which believes any size and hands over members that are no arrays as bytes.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      members = archive.infolist()
      # Before any is unpacked.
      if len({member.filename for member in members}) < len(members):
        raise ValueError("an array is there twice")
      for member in members:
        if not member.filename.endswith(".npy"):
          raise ValueError(f"{member.filename!r} is no array")
      if sum(member.file_size for member in members) > MAX_ARRAY_BYTES:
        raise ValueError(f"its arrays have more than {MAX_ARRAY_BYTES >> 20:,} MiB")
      return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
  except Exception as error:  # Whatever damaged bytes make the readers raise.
    raise ValueError(f"{path}: not a readable npz file ({one_line(error)})") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
  """Return an array after its checksum, which is looked at when all of it is read, was right."""
  buffer = io.BytesIO(read_member(archive, member))
  array = np.lib.format.read_array(buffer, allow_pickle=False)
  if buffer.read(1):
    raise ValueError(f"{member.filename!r} holds more than its array")
  return array


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
  """Return what a member of an archive holds, and unpack no more than the size that it states.

  ``archive.read`` unpacks whatever there is and cuts it afterwards. So does any reader of other
  compressions than deflate, which are refused.
  """
  if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(f"{member.filename!r} is compressed in another way than by deflate")
  with archive.open(member) as file:
    return file.read(member.file_size)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Write arrays as a compressed ``.npz``, atomically."""
  buffer = io.BytesIO()
  # NumPy's stub takes any keyword for its option, which no file here has as a name.
  np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
  write_atomically(path, buffer.getvalue())
