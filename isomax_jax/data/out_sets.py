"""Out-of-distribution sets: to measure a network on, or to learn from as outliers."""

import os
from functools import partial

from isomax_jax.data.description import DataSpec
from isomax_jax.data.examples import Examples
from isomax_jax.data.load import load
from isomax_jax.data.prepare import is_prepared
from isomax_jax.data.references import Reference, parse_reference
from isomax_jax.data.specs import SPECS, get_spec


def find_unknown(
  known: Reference,
  spec: DataSpec,
  text: str,
  *,
  role: str,
  data_dir: str | os.PathLike[str] | None = None,
) -> tuple[Reference, DataSpec]:
  """Look up an unknown set and its description; ``role`` is what error messages call it.

  Raises:
    ValueError: If there is no such set, its images have another shape than the known set's, or it
      holds known classes.
  """
  find = partial(get_spec, data_dir=data_dir)
  other = parse_reference(text, find=find)
  other_spec = find(other.name)
  if other_spec.example_shape != spec.example_shape:
    raise ValueError(
      f"{role} {text} must have images of shape {spec.example_shape} as {known.name} has, "
      f"got {other_spec.example_shape}"
    )
  if other.name == known.name and (common := _common_classes(other_spec, known, other)):
    raise ValueError(f"{role} {text} holds known classes: {', '.join(map(str, common))}")
  return other, other_spec


def load_unknown(
  known: Reference, spec: DataSpec, text: str, *, data_dir: str | os.PathLike[str] | None = None
) -> Examples:
  """Load an unknown set to measure on: its test images, or all images of held-out classes.

  Args:
    known: The known set and its classes.
    spec: Description of the known set.
    text: Reference of the unknown set; held-out classes are other classes of the known set.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Raises:
    ValueError: If there is no such set, its images have another shape, it holds known classes, or
      it is not prepared.

  Example:
    >>> import tempfile
    >>> known, spec = parse_reference("mnist_5k:0-7"), get_spec("mnist_5k")
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   len(load_unknown(known, spec, "letters", data_dir=data_dir).labels)
    630
  """
  reference, _ = find_unknown(known, spec, text, role="out-set", data_dir=data_dir)
  split = "all" if reference.name == known.name else "test"
  return load(reference.name, split, classes=reference.classes, data_dir=data_dir)


def overlap(
  one: str, other: str, *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[int, ...]:
  """List the classes that two references have in common, whatever the split.

  Args:
    one: Reference of a set.
    other: Reference of another.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

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
  return _common_classes(spec, ours, theirs)


def _common_classes(spec: DataSpec, one: Reference, other: Reference) -> tuple[int, ...]:
  every = range(len(spec.class_names))
  return tuple(sorted(set(one.classes or every) & set(other.classes or every)))


def default_out_sets(
  reference: Reference,
  *,
  outliers: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> list[str]:
  """List the default out-sets of a known set: its held-out classes, and the sets that fit.

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
