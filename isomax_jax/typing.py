"""Array annotations, and records of arrays that the packages share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, UInt8

Features = Float[Array, "*batch features"]
Prototypes = Float[Array, "classes features"]
Logits = Float[Array, "*batch classes"]
Labels = Int[Array, "*batch"]
Loss = Float[Array, "*batch"]
Scores = Float[Array, "*batch"]
Images = Float[Array, "batch height width channels"]
StoredImages = UInt8[Array, "batch height width channels"]


class Outputs(NamedTuple):
  """Outputs of a network for a batch of images.

  Attributes:
    logits: Logits, shape ``[batch, classes]``, float32.
    features: The head's input, shape ``[batch, features]``.
    stages: Each stage's spatial mean, shapes ``[batch, width of the stage]``.
  """

  logits: jax.Array
  features: jax.Array
  stages: tuple[jax.Array, ...] = ()


class Batch(NamedTuple):
  """A batch of a training step.

  Attributes:
    images: Images, shape ``[batch, height, width, channels]``: uint8 as stored, or float32.
    labels: Class indices, shape ``[batch]``, int32.
    positions: Place of each example in the global batch, shape ``[batch]``, int32. Random draws
      are folded with it, so they do not depend on how the batch is spread over devices.
    outliers: Images that belong to no class, for objectives that learn from such, shape
      ``[outliers, height, width, channels]``; else None.
  """

  images: jax.Array
  labels: jax.Array
  positions: jax.Array
  outliers: jax.Array | None = None


class Preprocessing(NamedTuple):
  """How stored examples become a network's input.

  Attributes:
    augment: Function of a random key and a batch to its augmented examples, as stored.
    to_pixels: Function of stored examples to pixels of [0, 1]; what are no images stays as it is.
    normalize: Function of pixels to the network's input.
  """

  augment: Callable[[jax.Array, Batch], jax.Array]
  to_pixels: Callable[[jax.Array], jax.Array]
  normalize: Callable[[jax.Array], jax.Array]

  def prepare(self, key: jax.Array, batch: Batch) -> jax.Array:
    """Return the network's input in training: augmented and normalised."""
    return self.normalize(self.to_pixels(self.augment(key, batch)))
