"""Descriptions of data sets, and their form in JSON."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Literal, NamedTuple, get_type_hints

import numpy as np

from isomax_jax import _checks

MAX_SIDE = 9_999
"""Largest height and width of images."""
MAX_SIZE = 2**20
"""Longest axis of other examples."""
_IMAGE_SHAPE = "image_shape"


class ChannelStatistics(NamedTuple):
  """Constants by which a set's pixels are normalised: ``(pixels - mean) / std``.

  Attributes:
    mean: Mean of each channel, in pixels of [0, 1].
    std: Standard deviation of each channel, in pixels of [0, 1].
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]


class Archive(NamedTuple):
  """A file or folder that a set is made from.

  Attributes:
    name: Name under which it is looked for.
    url: Where it is downloaded from; None if only the user has it.
    checksum: ``"sha256:..."`` or ``"md5:..."`` of the publisher's file.
    size: Bytes of the publisher's file; 0 where that is not known.
    other_names: Other names of files that hold the same images.
  """

  name: str
  url: str | None = None
  checksum: str | None = None
  size: int = 0
  other_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
  """The description of a data set: its record in the registry ``SPECS``.

  Attributes:
    name: Name of the set and of its TFDS builder; a configuration follows after a slash.
    example_shape: Shape of every example: height, width and channels of an image.
    class_names: Name of each class, in the order of the labels.
    splits: Number of examples of each split.
    role: Whether it may be the known set (``"in"``), an unknown one (``"out"``) or both.
    description: What the images show and how they were made.
    source: Where the images come from, with the attribution that their licence asks for.
    licence: Licence of the images.
    version: Version of what is prepared from the source.
    archives: What it is made from; none if it is packaged or generated and needs no network.
    normalization: ``"image"`` standardises each image by its own mean and deviation; constants
      of the set do it for all images alike. An out-set is normalised as its in-set is.
    crop_padding: Zeros around an image from which training crops are taken, in pixels.
    flip: Whether training flips images left to right.
    dtype: Dtype of the examples as stored. Images are uint8, of three axes; nothing else is
      augmented or normalised.
    builder: Function without arguments to the TFDS builder; None takes ``Builder`` of the module
      of the set's name in ``builders``.
  """

  name: str
  example_shape: tuple[int, ...]
  class_names: tuple[str, ...]
  splits: Mapping[str, int] = dataclasses.field(hash=False)
  role: Literal["in", "out", "in, out"]
  description: str
  source: str
  licence: str
  version: str = "1.0.0"
  archives: tuple[Archive, ...] = ()
  normalization: Literal["image"] | ChannelStatistics = "image"
  crop_padding: int = 0
  flip: bool = False
  dtype: str = "uint8"
  builder: Callable[[], type[Any]] | None = dataclasses.field(
    default=None, compare=False, repr=False
  )

  @property
  def is_images(self) -> bool:
    """Whether the examples are images."""
    return self.dtype == "uint8" and len(self.example_shape) == 3

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the examples, which are images."""
    height, width, channels = self.example_shape
    return height, width, channels

  def num_bytes(self, split: str | None = None) -> int:
    """Return the bytes of the decoded examples of a split, or of all of them."""
    count = sum(self.splits.values()) if split is None else self.splits[split]
    return count * math.prod(self.example_shape) * np.dtype(self.dtype).itemsize


def spec_to_json(spec: DataSpec) -> dict[str, Any]:
  """Return a description as a dictionary of plain values, without its archives and builder.

  Example:
    >>> from isomax_jax.data import get_spec
    >>> spec_to_json(get_spec("photos"))["splits"]
    {'test': 660}
  """
  values = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
  del values["archives"], values["builder"]
  if spec.is_images:
    del values["dtype"]
    # The key that descriptions of images have always had, in its place.
    values = {_IMAGE_SHAPE if key == "example_shape" else key: v for key, v in values.items()}
  if isinstance(spec.normalization, ChannelStatistics):
    values["normalization"] = spec.normalization._asdict()
  return values


def spec_from_json(values: Any) -> DataSpec:
  """Make a description from what :func:`spec_to_json` gave, maybe by way of JSON text.

  Raises:
    ValueError: If fields are missing, unknown or of another type.

  Example:
    >>> from isomax_jax.data import get_spec
    >>> spec_from_json(spec_to_json(get_spec("photos"))) == get_spec("photos")
    True
  """
  try:
    values = {("example_shape" if key == _IMAGE_SHAPE else key): v for key, v in values.items()}
    for key in ("example_shape", "class_names"):
      values[key] = tuple(values[key])
    if values["normalization"] != "image":
      constants = values["normalization"].items()
      values["normalization"] = ChannelStatistics(**{key: tuple(each) for key, each in constants})
    spec = DataSpec(**values)
    for name, expected in get_type_hints(DataSpec).items():
      _checks.typed(name, getattr(spec, name), NoneType if name == "builder" else expected)
    check_values(spec)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise ValueError(f"not the description of a data set: {error}") from error
  return spec


def check_values(spec: DataSpec) -> None:
  """Raise ValueError unless the values of a description, whose types are right, are possible."""
  _checks.one_of("dtype", spec.dtype, ("uint8", "float32"))
  if spec.dtype == "uint8":
    *sides, channels = spec.example_shape or (0,)
    fits = len(sides) == 2 and all(1 <= side <= MAX_SIDE for side in sides)
    if not fits or channels not in (1, 3):
      raise ValueError(
        f"image_shape must be sides of 1 to {MAX_SIDE:,} and 1 or 3 channels, "
        f"got {spec.example_shape}"
      )
  elif not spec.example_shape or not all(1 <= size <= MAX_SIZE for size in spec.example_shape):
    raise ValueError(f"example_shape must be sizes of 1 to {MAX_SIZE:,}, got {spec.example_shape}")
  if not spec.class_names or min(spec.splits.values(), default=-1) < 0:
    raise ValueError("it must have a class, a split, and no fewer than 0 examples in any")
  _checks.not_negative("crop_padding", spec.crop_padding)
  if spec.normalization == "image":
    return
  channels = spec.example_shape[-1]
  for field, check in (("mean", _checks.not_negative), ("std", _checks.positive)):
    name, constants = f"normalization.{field}", getattr(spec.normalization, field)
    _checks.typed(name, constants, tuple[float, ...])
    if len(constants) != channels:
      raise ValueError(f"{name} must be {channels} numbers, got {len(constants)}")
    for constant in constants:
      check(name, constant)
