"""The binary archives of CIFAR-10 and CIFAR-100: rows of label bytes and colour planes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from isomax_jax.data.builders.base import ImageBuilder
from isomax_jax.data.members import read_tar

_SIDE = 32
_PIXEL_BYTES = 3 * _SIDE * _SIDE
_MAX_BYTES = 2**28


class CifarBuilder(ImageBuilder, skip_registration=True):
  """Base of the two sets, which name what their archives hold.

  Attributes:
    FOLDER: The archive's folder.
    MEMBERS: Files of each split, in order.
    NAMES: File of the class names.
    LABEL_BYTES: Label bytes of a row; the last is the class.
  """

  FOLDER: str
  MEMBERS: ClassVar[Mapping[str, Sequence[str]]]
  NAMES: str
  LABEL_BYTES: int

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    """Read the whole archive, and verify names, sizes, labels and counts."""
    (path,) = self.archives.values()
    files = [file for members in self.MEMBERS.values() for file in members]
    expected = tuple(f"{self.FOLDER}/{file}" for file in (self.NAMES, *files))
    contents = read_tar(path, rf"{self.FOLDER}/[^/]+", max_bytes=_MAX_BYTES, expected=expected)
    names = tuple(contents[expected[0]].decode("utf-8", "replace").split())
    if names != self.spec.class_names:
      raise ValueError(f"{path}: {expected[0]} must name {', '.join(self.spec.class_names)}")
    splits = {}
    for split, members in self.MEMBERS.items():
      parts = [
        self._read_rows(path, member, contents[f"{self.FOLDER}/{member}"]) for member in members
      ]
      images, labels = map(np.concatenate, zip(*parts, strict=True))
      self._check_counts(path, split, labels)
      splits[split] = self._generate_examples(images, labels)
    return splits

  def _read_rows(self, path: Path, member: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the images ``[n, 32, 32, 3]`` and labels ``[n]`` of a file."""
    width = self.LABEL_BYTES + _PIXEL_BYTES
    if len(content) % width:
      raise ValueError(
        f"{path}: {member} must be rows of {width:,} bytes, got {len(content):,} bytes: "
        "get the archive anew"
      )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, width)
    labels = rows[:, self.LABEL_BYTES - 1]
    wrong = np.flatnonzero(labels >= len(self.spec.class_names))
    if wrong.size:
      raise ValueError(
        f"{path}: {member}, row {wrong[0]}: label must be in "
        f"0..{len(self.spec.class_names) - 1}, got {labels[wrong[0]]}"
      )
    planes = rows[:, self.LABEL_BYTES :].reshape(-1, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels

  def _check_counts(self, path: Path, split: str, labels: np.ndarray) -> None:
    """Raise ValueError unless the split has its number of images, the same of every class."""
    count, classes = self.spec.splits[split], len(self.spec.class_names)
    if len(labels) != count:
      raise ValueError(f"{path} must hold {count:,} {split} images, got {len(labels):,}")
    counts = np.bincount(labels, minlength=classes)
    if (counts != count // classes).any():
      raise ValueError(
        f"{path} must hold {count // classes:,} {split} images of each class, "
        f"got {counts.min():,} to {counts.max():,}"
      )
