"""Array annotations, and records of arrays that the packages share.

What a function takes ends in ``Like``: arrays of JAX or NumPy, and plain numbers for scalars. What
it returns is an array of JAX.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float, Integer, Real, UInt8

Features = Float[Array, "*batch features"]
Prototypes = Float[Array, "classes features"]
Logits = Float[Array, "*batch classes"]
Labels = Integer[Array, "*batch"]
Loss = Float[Array, "*batch"]
Scores = Float[Array, "*batch"]
Images = Float[Array, "batch height width channels"]
StoredImages = UInt8[Array, "batch height width channels"]

AnyArray = Array | np.ndarray
FeaturesLike = Float[AnyArray, "*batch features"]
PrototypesLike = Float[AnyArray, "classes features"]
LogitsLike = Float[AnyArray, "*batch classes"]
LabelsLike = Integer[AnyArray, "*batch"] | np.integer | int
ScalarLike = Real[AnyArray, ""] | np.floating | np.integer | float

_A = TypeVar("_A", bound=AnyArray, covariant=True)

if TYPE_CHECKING:
  from typing import Generic
else:

  class Generic:
    """A base for checkers alone: beartype refuses named tuples that are generic."""

    def __class_getitem__(cls, parameter):
      return cls()

    def __mro_entries__(self, bases):
      return ()


class Device(Protocol):
  """A device of JAX, as far as it is used: to type checkers ``jax.Device`` is no type."""

  id: int
  platform: str
  device_kind: str
  process_index: int


class Outputs(NamedTuple, Generic[_A]):
  """Outputs of a network for a batch of images.

  Attributes:
    logits: Logits, shape ``[batch, classes]``, float32.
    features: The head's input, shape ``[batch, features]``.
    stages: Each stage's spatial mean, shapes ``[batch, width of the stage]``.
  """

  logits: _A
  features: _A
  stages: tuple[_A, ...] = ()


class Batch(NamedTuple, Generic[_A]):
  """A batch of a training step.

  Attributes:
    images: Images, shape ``[batch, height, width, channels]``: uint8 as stored, or float32.
    labels: Class indices, shape ``[batch]``, int32.
    positions: Place of each example in the global batch, shape ``[batch]``, int32. Random draws
      are folded with it, so they do not depend on how the batch is spread over devices.
    outliers: Images that belong to no class, for objectives that learn from such, shape
      ``[outliers, height, width, channels]``; else None.
  """

  images: _A
  labels: _A
  positions: _A
  outliers: _A | None = None


class Preprocessing(NamedTuple):
  """How stored examples become a network's input.

  Attributes:
    augment: Function of a random key and a batch to its augmented examples, as stored.
    to_pixels: Function of stored examples to pixels of [0, 1]; what are no images stays as it is.
    normalize: Function of pixels to the network's input.
  """

  augment: Callable[[jax.Array, Batch[jax.Array]], jax.Array]
  to_pixels: Callable[[jax.Array], jax.Array]
  normalize: Callable[[jax.Array], jax.Array]

  def prepare(self, key: jax.Array, batch: Batch[jax.Array]) -> jax.Array:
    """Return the network's input in training: augmented and normalised."""
    return self.normalize(self.to_pixels(self.augment(key, batch)))
