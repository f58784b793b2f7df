"""Loading of splits, as arrays or as examples on disk, and the validation split."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from isomax_jax import _checks
from isomax_jax.data._places import data_root, set_folder
from isomax_jax.data._stratified import stratified_choice
from isomax_jax.data.description import DataSpec
from isomax_jax.data.examples import Examples, Labelled, Stored, open_stored, read_split
from isomax_jax.data.prepare import prepare
from isomax_jax.data.references import check_classes
from isomax_jax.data.specs import get_spec

L = TypeVar("L", bound=Labelled)


def load(
  name: str,
  split: str,
  *,
  classes: Sequence[int] | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> Examples:
  """Load a split of a set.

  A set that comes with installed packages or is generated is prepared if it is not yet; one that
  has to be fetched is not, because that is for the user to ask for.

  Args:
    name: Name of the set, with its configuration where it has one.
    split: One of the set's splits, or ``"all"`` for all of them in their order.
    classes: Classes to keep, by their original indices; labels become positions in it.
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

  Returns:
    The examples in the order in which they are stored; the arrays may be read-only.

  Raises:
    ModuleNotFoundError: If a package is missing; the message says how to install it.
    ValueError: If the set, the split or a class is unknown, the set is not prepared, or the
      images' number, type or shape or the labels' range is not as the set's description says.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   examples = load("letters", "test", classes=[1, 0], data_dir=data_dir)
    >>> examples.images.shape, examples.labels[[0, -1]].tolist()
    ((42, 28, 28, 1), [1, 0])
  """
  spec = get_spec(name, data_dir=data_dir)
  _checks.one_of(f"split of {name}", split, (*spec.splits, "all"))
  kept = None if classes is None else check_classes(spec, classes)
  folder = _prepared_folder(spec, data_dir)
  parts = [read_split(folder, spec, part) for part in (spec.splits if split == "all" else [split])]
  # Concatenating copies, and most often there is one part, mapped from disk.
  examples = (
    parts[0] if len(parts) == 1 else Examples(*map(np.concatenate, zip(*parts, strict=True)))
  )
  if kept is None:
    return examples
  labels = _renumber(examples.labels, kept, spec)
  return Examples(examples.images, labels).take(labels >= 0)


def open_split(
  name: str,
  split: str,
  *,
  classes: Sequence[int] | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> Stored:
  """Open a split of a set whose images are read on demand.

  Args:
    name: Name of the set, with its configuration where it has one.
    split: One of the set's splits.
    classes: Classes to keep, by their original indices; labels become positions in it.
    data_dir: Where sets are kept; see :func:`load`.

  Returns:
    The examples in the order in which they are stored.

  Raises:
    ModuleNotFoundError: As :func:`load` does.
    ValueError: As :func:`load` does, of the images when they are read.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   stored = open_split("letters", "test", classes=[1, 0], data_dir=data_dir)
    ...   images, labels = stored.read(np.array([0, 41]))
    >>> images.shape, labels.tolist()
    ((2, 28, 28, 1), [1, 0])
  """
  spec = get_spec(name, data_dir=data_dir)
  _checks.one_of(f"split of {name}", split, spec.splits)
  kept = None if classes is None else check_classes(spec, classes)
  stored = open_stored(_prepared_folder(spec, data_dir), spec, split)
  if kept is None:
    return stored
  labels = _renumber(stored.labels, kept, spec)
  return dataclasses.replace(stored, labels=labels).take(labels >= 0)


def split_validation(examples: L, fraction: float, *, seed: int) -> tuple[L, L]:
  """Split examples into those to train on and those to validate with, class by class.

  Args:
    examples: The examples, in memory or on disk.
    fraction: Share of each class for validation, in [0, 1), rounded to whole examples.
    seed: Seed of the permutation that chooses them, a non-negative integer.

  Returns:
    The examples to train on and those to validate with, each in the order that they had.

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
  return examples.take(~chosen), examples.take(chosen)


def _prepared_folder(spec: DataSpec, data_dir: str | os.PathLike[str] | None) -> Path:
  """Return the set's folder, after preparing the set if nothing must be fetched for it."""
  root = data_root(data_dir)
  if spec.archives and not set_folder(root, spec.name, spec.version).exists():
    raise ValueError(
      f"{spec.name} is not prepared in {root}: run isomax-jax prepare {spec.name}, or copy its "
      "folder there from where it was prepared"
    )
  return prepare(spec.name, data_dir=data_dir)


def _renumber(labels: np.ndarray, kept: Sequence[int], spec: DataSpec) -> np.ndarray:
  """Turn labels into positions among the kept classes, -1 for all others."""
  positions = np.full(len(spec.class_names), -1, dtype=np.int32)
  positions[list(kept)] = np.arange(len(kept))
  return positions[labels]
