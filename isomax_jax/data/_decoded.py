"""Decoded images and labels, kept beside the records of a prepared set.

Decoding 50,000 small PNG files takes some five seconds; mapping their pixels into memory and
verifying them takes a fraction of one. Larger sets have their labels alone.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from isomax_jax._files import read_json

# What fits on a device beside a network; larger sets are streamed.
LARGEST_RESIDENT = 2**30

_MANIFEST = "decoded.json"


def write_decoded(folder: Path, arrays: dict[str, np.ndarray]) -> None:
  """Write arrays and, last, the checksums by which they are verified."""
  checksums = {}
  for name, array in arrays.items():
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
      np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
      # Not by NumPy, which says of a full disk only that too little was written.
      file.write(np.ascontiguousarray(array).data)
    checksums[name] = _digest(path)
  (folder / _MANIFEST).write_text(json.dumps(checksums, indent=2) + "\n")


def read_decoded(folder: Path, name: str) -> np.ndarray | None:
  """Map an array into memory, read-only, after verifying its checksum.

  None if there is no array of that name; ValueError if it is damaged.
  """
  manifest, path = folder / _MANIFEST, folder / f"{name}.npy"
  if not manifest.exists():
    return None
  try:
    checksum = read_json(manifest).get(name)
    if checksum is None:
      return None
    if _digest(path) == checksum:
      return np.load(path, mmap_mode="r", allow_pickle=False)
    reason = "its checksum is wrong"
  except (AttributeError, OSError, ValueError) as error:
    reason = str(error)
  raise ValueError(f"{path} is damaged ({reason}): delete {folder} and prepare the set again")


def is_decoded(folder: Path, name: str) -> bool:
  """Tell whether an array is there, whole or damaged."""
  manifest = folder / _MANIFEST
  if not (manifest.exists() and (folder / f"{name}.npy").exists()):
    return False
  try:
    return name in read_json(manifest)
  except ValueError:
    return True  # Its reader says that it is damaged.


def _digest(path: Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
