"""Out-sets: what a network is to tell from the known set, or learns from as outliers."""

import os
from functools import partial
from typing import NamedTuple

from isomax_jax.data.description import DataSpec
from isomax_jax.data.examples import Examples
from isomax_jax.data.load import load
from isomax_jax.data.prepare import is_prepared
from isomax_jax.data.references import Reference, parse_reference
from isomax_jax.data.specs import SPECS, get_spec


class Unknown(NamedTuple):
  """A set, or some of its classes, of which nothing is known.

  Attributes:
    reference: The set and its classes.
    spec: What is known of the set.
    of_known_set: Whether they are other classes of the known set.
  """

  reference: Reference
  spec: DataSpec
  of_known_set: bool


def find_unknown(
  known: Reference,
  spec: DataSpec,
  text: str,
  *,
  role: str,
  data_dir: str | os.PathLike[str] | None = None,
) -> Unknown:
  """Look up a set after checking that none of it is known and that its images fit.

  Args:
    known: The known set and its classes.
    spec: What is known of the known set.
    text: Reference of the set.
    role: What the set is wanted for, for error messages.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Raises:
    ValueError: If the set is unknown, its images have another shape, or it holds known classes.
  """
  find = partial(get_spec, data_dir=data_dir)
  other = parse_reference(text, find=find)
  other_spec = find(other.name)
  if other_spec.example_shape != spec.example_shape:
    raise ValueError(
      f"{role} {text} must have images of shape {spec.example_shape} as {known.name} has, "
      f"got {other_spec.example_shape}"
    )
  of_known_set = other.name == known.name
  if of_known_set and (common := common_classes(other_spec, known, other)):
    raise ValueError(f"{role} {text} holds known classes: {', '.join(map(str, common))}")
  return Unknown(other, other_spec, of_known_set)


def load_unknown(
  known: Reference,
  spec: DataSpec,
  text: str,
  *,
  data_dir: str | os.PathLike[str] | None = None,
) -> Examples:
  """Load what to measure a network on: test images, or all of other classes of the known set.

  Raises:
    ValueError: As :func:`find_unknown` does, or if the set is not prepared.

  Example:
    >>> import tempfile
    >>> known, spec = parse_reference("mnist_5k:0-7"), get_spec("mnist_5k")
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   len(load_unknown(known, spec, "letters", data_dir=data_dir).labels)
    630
  """
  reference, _, of_known_set = find_unknown(known, spec, text, role="out-set", data_dir=data_dir)
  split = "all" if of_known_set else "test"
  return load(reference.name, split, classes=reference.classes, data_dir=data_dir)


def overlap(
  one: str, other: str, *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[int, ...]:
  """List the classes that two sets have in common, images of other splits included.

  Args:
    one: Reference of a set.
    other: Reference of another.
    data_dir: Where sets are kept.

  Returns:
    Class indices; sets of different names share them if they are made from the same archives.

  Example:
    >>> overlap("mnist_5k:0-7", "mnist_5k:7-9")
    (7,)
    >>> overlap("letters", "mnist_5k")
    ()
  """
  find = partial(get_spec, data_dir=data_dir)
  ours, theirs = (parse_reference(text, find=find) for text in (one, other))
  spec = find(ours.name)
  if ours.name != theirs.name and not set(spec.archives) & set(find(theirs.name).archives):
    return ()
  return common_classes(spec, ours, theirs)


def common_classes(spec: DataSpec, one: Reference, other: Reference) -> tuple[int, ...]:
  """List the classes that two references to a set have in common."""
  every = range(len(spec.class_names))
  return tuple(sorted(set(one.classes or every) & set(other.classes or every)))


def default_out_sets(
  reference: Reference,
  *,
  outliers: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> list[str]:
  """List what a known set is compared with unless told: its other classes, and the out-sets.

  Args:
    reference: The known set and its known classes.
    outliers: Reference of the set that the network learnt from as outliers, if there was one; its
      images are left out.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Returns:
    References of sets whose images have the known set's shape and which are prepared, or need
    nothing to be fetched.

  Example:
    >>> default_out_sets(parse_reference("mnist_5k:0-7"))
    ['mnist_5k:8,9', 'letters', 'photos']
    >>> default_out_sets(parse_reference("mnist_5k:0-7"), outliers="mnist_5k:8")
    ['mnist_5k:9', 'letters', 'photos']
  """
  spec = get_spec(reference.name, data_dir=data_dir)
  out_sets = [
    other.name
    for other in SPECS.values()
    if "out" in other.role
    and other.name != reference.name
    and other.example_shape == spec.example_shape
    and (not other.archives or is_prepared(other, data_dir=data_dir))
    and not (outliers and overlap(other.name, outliers, data_dir=data_dir))
  ]
  if reference.classes is None:
    return out_sets
  others = set(range(len(spec.class_names))) - set(reference.classes)
  if outliers:
    others -= set(overlap(reference.name, outliers, data_dir=data_dir))
  held_out = Reference(reference.name, tuple(sorted(others)))
  return [str(held_out), *out_sets] if others else out_sets
