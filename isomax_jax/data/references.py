"""References to a data set or to some of its classes, such as ``mnist_5k:0-7``."""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from isomax_jax.data.description import DataSpec
from isomax_jax.data.specs import get_spec


class Reference(NamedTuple):
  """A set, or some of its classes; its string is what :func:`parse_reference` reads.

  Attributes:
    name: Name of the set.
    classes: Original class indices in the order in which they are renumbered; None is all.
  """

  name: str
  classes: tuple[int, ...] | None = None

  def __str__(self) -> str:
    if self.classes is None:
      return self.name
    return f"{self.name}:{','.join(_runs(self.classes))}"


def parse_reference(text: str, *, find: Callable[[str], DataSpec] = get_spec) -> Reference:
  """Read a reference to a set or to some of its classes.

  Args:
    text: ``"NAME"``, ``"NAME:8,9"`` or ``"NAME:0-3,6-9"``; a name may hold a configuration after
      a slash. Classes are counted from 0 and keep the order in which they are written.
    find: Function of a name to the set's description.

  Returns:
    The name and the classes; its string is canonical (runs of three or more become ranges).

  Raises:
    ValueError: If the set is unknown, or the classes are none, malformed, out of range or
      repeated.

  Example:
    >>> parse_reference("mnist_5k:8,9")
    Reference(name='mnist_5k', classes=(8, 9))
    >>> str(parse_reference("mnist_5k:0,1,2,3,6-9"))
    'mnist_5k:0-3,6-9'
  """
  name, colon, listed = text.partition(":")
  spec = find(name)
  if not colon:
    return Reference(name)
  classes: list[int] = []
  for part in listed.split(","):
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
    if match is None:
      raise ValueError(f"classes of {text!r} must be written like 0-3,8, got {part!r}")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
      raise ValueError(f"classes of {text!r}: the range {part} runs backwards")
    # Classes past the end are refused below; the bound keeps an absurd range from filling memory.
    classes.extend(range(first, min(last, first + len(spec.class_names)) + 1))
  return Reference(name, check_classes(spec, classes))


def check_classes(spec: DataSpec, classes: Sequence[int]) -> tuple[int, ...]:
  """Return class indices of a set as a tuple, in the same order.

  Raises:
    TypeError: If one is not an integer.
    ValueError: If there are none, one is out of range, or one occurs twice.
  """
  indices = tuple(operator.index(index) for index in classes)
  if not indices:
    raise ValueError(f"classes of {spec.name} must be one or more, got none")
  for position, index in enumerate(indices):
    if not 0 <= index < len(spec.class_names):
      raise ValueError(
        f"classes of {spec.name} must be in 0..{len(spec.class_names) - 1}, got {index}"
      )
    if index in indices[:position]:
      raise ValueError(f"classes of {spec.name} must differ, got {index} twice")
  return indices


def _runs(classes: tuple[int, ...]) -> Iterator[str]:
  """Yield rising runs of three or more as a range, everything else number by number."""
  start = 0
  for stop in range(1, len(classes) + 1):
    if stop < len(classes) and classes[stop] == classes[stop - 1] + 1:
      continue
    run = classes[start:stop]
    yield from [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    start = stop
