"""Labelled examples: arrays in memory, or records on disk that are read on demand.

Both have ``labels``, ``take`` and ``read``, so either can be given where examples are needed.
"""

import dataclasses
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Int, Int32, Shaped

from isomax_jax._files import one_line, read_json
from isomax_jax.data._decoded import LARGEST_RESIDENT, is_decoded, read_decoded
from isomax_jax.data._packages import package_folder
from isomax_jax.data.description import DataSpec

_RECORDS_AT_A_TIME = 1000
# What reads records. TFDS imports ArrayRecord late, and would say that the set is damaged.
_READERS = ("tensorflow_datasets", "array_record", "PIL")
_FEATURES = ("features_dict.FeaturesDict", "image_feature.Image", "class_label_feature.ClassLabel")
_CLASSES = frozenset(f"tensorflow_datasets.core.features.{name}" for name in _FEATURES)

Positions = slice | Int[np.ndarray, " n"] | Bool[np.ndarray, " examples"]
"""Which examples: a slice, positions or, for each example, whether it is chosen."""


class Examples(NamedTuple):
  """Labelled examples in memory.

  Attributes:
    images: Examples as stored, shape ``[examples, *shape of one]``: images are
      ``[examples, height, width, channels]``, uint8.
    labels: Class indices, shape ``[examples]``, int32.
  """

  images: Shaped[np.ndarray, "examples ..."]
  labels: Int32[np.ndarray, " examples"]

  def take(self, chosen: Bool[np.ndarray, " examples"]) -> Self:
    """Return the chosen examples in the order that they had."""
    return self._replace(images=self.images[chosen], labels=self.labels[chosen])

  def read(self, positions: Positions) -> "Examples":
    """Return some examples, by positions or a slice, in their order."""
    return Examples(self.images[positions], self.labels[positions])


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
  """Labelled images on disk.

  Attributes:
    folder: The prepared set.
    spec: Its description.
    split: The split.
    records: The split's TFDS data source, which leaves images encoded.
    rows: Where in the data source each example is, shape ``[examples]``, integer.
    labels: Class indices, shape ``[examples]``, int32.
  """

  folder: Path
  spec: DataSpec
  split: str
  records: Any
  rows: Int[np.ndarray, " examples"]
  labels: Int32[np.ndarray, " examples"]

  def take(self, chosen: Bool[np.ndarray, " examples"]) -> Self:
    """Return the chosen examples in the order that they had."""
    return dataclasses.replace(self, rows=self.rows[chosen], labels=self.labels[chosen])

  def read(self, positions: Positions) -> Examples:
    """Read some examples, by positions or a slice, in their order.

    Raises:
      ValueError: If one cannot be read or is not as the description says.
    """
    rows = self.rows[positions]
    images = np.empty((len(rows), *self.spec.example_shape), dtype=np.uint8)
    for index, record in enumerate(_read_records(self.records, rows, self.folder)):
      place = f"{self.spec.name} {self.split}, example {rows[index]}"
      images[index] = _decode(record["image"], self.spec, place)
    return Examples(images, self.labels[positions])


Labelled = Examples | Stored
"""Examples in memory or on disk."""


def open_stored(folder: Path, spec: DataSpec, split: str) -> Stored:
  """Open a split of a prepared set, and verify the number of its examples and their labels.

  Raises:
    ModuleNotFoundError: If a package that reads records is missing.
    ValueError: If the split cannot be read or is not as its description says.
  """
  for package in _READERS:
    package_folder(package, extra="train", use=f"read {spec.name} {split} from its records")
  import tensorflow_datasets as tfds

  # Pillow decodes: TFDS would take OpenCV where that happens to be installed.
  skip = {"image": tfds.decode.SkipDecoding()}
  try:
    _check_features(read_json(folder / "features.json"))
    builder: Any = tfds.builder_from_directory(folder)  # Checkers lose its methods' parameters.
    records = builder.as_data_source(split, decoders=skip)
    rows = np.arange(len(records))
  except Exception as error:  # Whatever a damaged file makes the reader raise.
    raise _unreadable(folder, error) from error
  labels = read_decoded(folder, f"{split}-labels")
  if labels is None:
    found = [record["label"] for record in _read_records(records, rows, folder)]
    labels = np.array(found, dtype=np.int32)
  _check_labels(labels, spec, split)
  return Stored(folder, spec, split, records, rows, labels)


def read_split(folder: Path, spec: DataSpec, split: str) -> Examples:
  """Read a split of a prepared set, and verify it against its description.

  Decoded arrays are read without TFDS; records are read where a set is too large for such.

  Raises:
    ModuleNotFoundError: If records are to be read and a package for it is missing.
    ValueError: If the split cannot be read or is not as its description says, or its decoded
      arrays are missing and nothing can read the records instead.
  """
  if spec.num_bytes() < LARGEST_RESIDENT and not all(map(importlib.util.find_spec, _READERS)):
    _check_decoded(folder, spec, split)
  images = read_decoded(folder, f"{split}-images")
  labels = read_decoded(folder, f"{split}-labels")
  if images is None or labels is None:
    return open_stored(folder, spec, split).read(slice(None))
  _check_labels(labels, spec, split)
  if images.dtype != np.uint8 or images.shape != (len(labels), *spec.example_shape):
    raise ValueError(
      f"{spec.name} {split}: images must be uint8 {(len(labels), *spec.example_shape)}, "
      f"got {images.dtype} {images.shape}"
    )
  return Examples(images, labels)


def _check_decoded(folder: Path, spec: DataSpec, split: str) -> None:
  """Raise ValueError if a split is not there decoded: packages may be missing on purpose."""
  names = (f"{split}-images", f"{split}-labels")
  missing = [f"{name}.npy" for name in names if not is_decoded(folder, name)]
  if missing:
    raise ValueError(
      f"{spec.name}: the decoded split {split} is not in {folder} ({' and '.join(missing)}, or "
      "what decoded.json says of it): copy the whole folder from where the set was prepared, or "
      "delete it and prepare the set again where isomax_jax[train] is installed"
    )


def _read_records(records: Any, rows: np.ndarray, folder: Path) -> Iterator[dict[str, Any]]:
  """Yield records, reading a bounded number at a time."""
  for start in range(0, len(rows), _RECORDS_AT_A_TIME):
    try:
      found = records.__getitems__(rows[start : start + _RECORDS_AT_A_TIME].tolist())
    except Exception as error:  # Whatever a damaged file makes the reader raise.
      raise _unreadable(folder, error) from error
    yield from found


def _check_features(features: Any) -> None:
  """Raise ValueError where features have another class: TFDS imports the module that it names."""
  for key, value in features.items() if isinstance(features, dict) else ():
    if key == "pythonClassName" and value not in _CLASSES:
      raise ValueError(f"features of class {value!r}")
    if key == "type":  # An older name of the same.
      raise ValueError(f"features of type {value!r}")
    _check_features(value)


def _unreadable(folder: Path, error: Exception) -> ValueError:
  reason = one_line(error)
  return ValueError(f"{folder} cannot be read, delete it and prepare the set again: {reason}")


def _check_labels(labels: np.ndarray, spec: DataSpec, split: str) -> None:
  """Raise ValueError unless the labels have the right number, and each is a class."""
  count, classes = spec.splits[split], len(spec.class_names)
  if labels.ndim != 1 or labels.dtype.kind not in "iu":
    raise ValueError(
      f"{spec.name} {split}: labels must be integers of shape [examples], "
      f"got {labels.dtype} {labels.shape}"
    )
  if len(labels) != count:
    raise ValueError(f"{spec.name} {split} must have {count} examples, got {len(labels)}")
  wrong = np.flatnonzero((labels < 0) | (labels >= classes))
  if wrong.size:
    raise ValueError(
      f"{spec.name} {split}, example {wrong[0]}: label must be in 0..{classes - 1}, "
      f"got {labels[wrong[0]]}"
    )


def _decode(encoded: bytes, spec: DataSpec, place: str) -> np.ndarray[Any, Any]:
  """Decode a stored image, or raise ValueError if it is not as the description says."""
  from PIL import Image

  try:
    with Image.open(io.BytesIO(encoded), formats=("PNG",)) as opened:
      image = np.atleast_3d(np.asarray(opened))  # A grey image comes without its axis of channels.
  except Exception as error:  # Whatever damaged bytes make the decoder raise.
    raise ValueError(f"{place}: image cannot be decoded") from error
  if image.dtype != np.uint8 or image.shape != spec.example_shape:
    raise ValueError(
      f"{place}: image must be uint8 {spec.example_shape}, got {image.dtype} {image.shape}"
    )
  return image
