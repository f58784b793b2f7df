"""Load a set as arrays on the host, and keep a part of it for validation."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from isomax_jax import _checks
from isomax_jax.data._stratified import stratified_choice
from isomax_jax.data.prepare import prepare
from isomax_jax.data.specs import DataSpec, check_classes, get_spec


class Examples(NamedTuple):
  """Labelled images on the host.

  Attributes:
    images: Images as stored, shape ``[examples, height, width, channels]``, uint8.
    labels: Class indices, shape ``[examples]``, int32.
  """

  images: UInt8[np.ndarray, "examples height width channels"]
  labels: Int32[np.ndarray, " examples"]


def load(
  name: str,
  split: str,
  *,
  classes: Sequence[int] | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> Examples:
  """Load a split of a set, preparing the set first where that has not been done.

  Args:
    name: Name of the set, with its configuration where it has one.
    split: One of the set's splits, or ``"all"`` for all of them one after the other.
    classes: Classes to keep, by their original indices; labels become positions in it.
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

  Returns:
    The examples in the order in which they are stored.

  Raises:
    ModuleNotFoundError: If a package that is needed is missing; the message says how to install
      it.
    ValueError: If the set, the split or a class is unknown, or what is stored is not what the
      set's specification says: number, type and shape of the images, range of the labels.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   examples = load("letters", "test", classes=[1, 0], data_dir=data_dir)
    >>> examples.images.shape, examples.labels[[0, -1]].tolist()
    ((42, 28, 28, 1), [1, 0])
  """
  spec = get_spec(name)
  _checks.one_of(f"split of {name}", split, (*spec.splits, "all"))
  kept = None if classes is None else check_classes(spec, classes)
  folder = prepare(name, data_dir=data_dir)
  parts = [_read(folder, spec, part) for part in (spec.splits if split == "all" else [split])]
  examples = Examples(*map(np.concatenate, zip(*parts, strict=True)))
  if kept is None:
    return examples
  renumbered = np.full(len(spec.class_names), -1, dtype=np.int32)
  renumbered[list(kept)] = np.arange(len(kept))
  labels = renumbered[examples.labels]
  return Examples(examples.images[labels >= 0], labels[labels >= 0])


def split_validation(
  examples: Examples, fraction: float, *, seed: int
) -> tuple[Examples, Examples]:
  """Split examples into those to train on and those to validate with, class by class.

  Args:
    examples: The examples.
    fraction: Share of each class for validation, in [0, 1), rounded to whole examples.
    seed: Seed of the permutation that chooses them, a non-negative integer.

  Returns:
    The examples to train on and the examples to validate with, each in the order that they had.

  Raises:
    ValueError: If the fraction is out of range.

  Example:
    >>> labels = np.repeat(np.arange(2, dtype=np.int32), 10)
    >>> examples = Examples(np.zeros((20, 4, 4, 1), dtype=np.uint8), labels)
    >>> train, validation = split_validation(examples, 0.2, seed=0)
    >>> train.images.shape, validation.labels.tolist()
    ((16, 4, 4, 1), [0, 0, 1, 1])
  """
  if not 0 <= fraction < 1:
    raise ValueError(f"fraction must be in [0, 1), got {fraction!r}")
  chosen = stratified_choice(examples.labels, fraction, seed=seed)
  return (
    Examples(examples.images[~chosen], examples.labels[~chosen]),
    Examples(examples.images[chosen], examples.labels[chosen]),
  )


def _read(folder: Path, spec: DataSpec, split: str) -> Examples:
  """Read a split of a prepared set and verify it against the set's specification."""
  import tensorflow_datasets as tfds

  # Pillow decodes below: TFDS would take OpenCV where that happens to be installed.
  skip = {"image": tfds.decode.SkipDecoding()}
  try:
    source = tfds.builder_from_directory(folder).as_data_source(split, decoders=skip)
    records = source.__getitems__(range(len(source)))
  except Exception as error:  # Whatever a damaged file makes the reader raise.
    reason = str(error).partition("\n")[0]
    raise ValueError(
      f"{spec.name} {split} in {folder} cannot be read, delete it and retry: {reason}"
    ) from error
  count = spec.splits[split]
  if len(records) != count:
    raise ValueError(f"{spec.name} {split} must have {count} examples, got {len(records)}")
  images = np.empty((count, *spec.image_shape), dtype=np.uint8)
  labels = np.empty(count, dtype=np.int32)
  for index, record in enumerate(records):
    place = f"{spec.name} {split}, example {index}"
    images[index] = _decode(record["image"], spec, place)
    if not 0 <= record["label"] < len(spec.class_names):
      raise ValueError(
        f"{place}: label must be in 0..{len(spec.class_names) - 1}, got {record['label']}"
      )
    labels[index] = record["label"]
  return Examples(images, labels)


def _decode(encoded: bytes, spec: DataSpec, place: str) -> np.ndarray[Any, Any]:
  """Decode a stored image, or raise ValueError if it is not as the specification says."""
  from PIL import Image

  try:
    with Image.open(io.BytesIO(encoded)) as opened:
      image = np.asarray(opened)
  except Exception as error:  # Whatever damaged bytes make the decoder raise.
    raise ValueError(f"{place}: image cannot be decoded") from error
  # A grey image comes without its axis of channels.
  shape = image.shape if image.ndim == 3 else (*image.shape, 1)
  if image.dtype != np.uint8 or shape != spec.image_shape:
    raise ValueError(f"{place}: image must be uint8 {spec.image_shape}, got {image.dtype} {shape}")
  return image.reshape(shape)
