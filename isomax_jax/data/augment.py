"""Augmentation and normalisation of batches, on the device inside the training step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key, Num, UInt8

from isomax_jax import _checks
from isomax_jax.data.description import DataSpec
from isomax_jax.typing import AnyArray, Batch, Preprocessing

_Pixels = Float[Array, "*batch height width channels"]
_PixelsLike = Float[AnyArray, "*batch height width channels"]

# An image that is flat has no deviation to divide by; the floor is 1 / sqrt(28 * 28).
DEVIATION_FLOOR = 1 / 28

# Folded into a key, so that an example's crop and flip, which share it, are independent.
_CROP, _FLIP = 0, 1


def to_pixels(images: UInt8[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
  """Return ``images / 255``, float32, of stored images of any shape.

  Raises:
    TypeError: If the images are not uint8.

  Example:
    >>> to_pixels(jnp.array([0, 255], dtype=jnp.uint8))
    Array([0., 1.], dtype=float32)
  """
  images = jnp.asarray(images)
  if images.dtype != jnp.uint8:
    raise TypeError(f"images must be uint8, got dtype {images.dtype}")
  return images.astype(jnp.float32) / 255


def example_keys(
  key: Key[Array, ""], positions: Integer[AnyArray, " batch"]
) -> Key[Array, " batch"]:
  """Make a key for each example, so that draws do not depend on how devices share the batch.

  Args:
    key: The step's key, the same on every device.
    positions: Place of each example in the global batch, shape ``[batch]``, integer.

  Returns:
    The keys, shape ``[batch]``.

  Raises:
    TypeError: If the positions are not integers.

  Example:
    >>> example_keys(jax.random.key(0), jnp.arange(4)).shape
    (4,)
  """
  positions = _checks.integer("positions", positions)
  return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)


def random_crop(
  keys: Key[Array, " batch"], images: Num[AnyArray, "batch height width channels"], *, padding: int
) -> Num[Array, "batch height width channels"]:
  """Pad each image with zeros and cut out a window of its size at a random place.

  Args:
    keys: A key for each example, shape ``[batch]``; may be shared with :func:`random_flip`.
    images: Images, shape ``[batch, height, width, channels]``, any dtype.
    padding: Width of the border of zeros; every offset in 0..2·padding is equally likely.

  Returns:
    The crops, of the images' shape and dtype.

  Raises:
    ValueError: If shapes do not agree or the padding is negative.

  Example:
    >>> images = jnp.ones((2, 4, 4, 1))
    >>> random_crop(jax.random.split(jax.random.key(0), 2), images, padding=2).shape
    (2, 4, 4, 1)
  """
  images = _check_batch(keys, images)
  if padding < 0:
    raise ValueError(f"padding must be 0 or more, got {padding}")
  padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

  def crop(key: jax.Array, image: jax.Array) -> jax.Array:
    offsets = jax.random.randint(jax.random.fold_in(key, _CROP), (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(image, (*offsets, 0), images.shape[1:])

  return jax.vmap(crop)(keys, padded)


def random_flip(
  keys: Key[Array, " batch"], images: Num[AnyArray, "batch height width channels"]
) -> Num[Array, "batch height width channels"]:
  """Flip each image left to right with probability one half.

  Args:
    keys: A key for each example, shape ``[batch]``; may be shared with :func:`random_crop`.
    images: Images, shape ``[batch, height, width, channels]``, any dtype.

  Returns:
    The images, flipped or not, of the same shape and dtype.

  Raises:
    ValueError: If shapes do not agree.

  Example:
    >>> images = jnp.ones((2, 4, 4, 1))
    >>> random_flip(jax.random.split(jax.random.key(0), 2), images).shape
    (2, 4, 4, 1)
  """
  images = _check_batch(keys, images)
  flipped = jax.vmap(lambda key: jax.random.bernoulli(jax.random.fold_in(key, _FLIP)))(keys)
  return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def make_preprocessing(spec: DataSpec, *, crop_padding: int, flip: bool) -> Preprocessing:
  """Make the preprocessing of a set's stored examples.

  Images are cropped and flipped at random in training, and normalised as the set asks for. Other
  examples go into the network as they are.

  Args:
    spec: The set that a network is trained on.
    crop_padding: Zeros around an image from which training crops are taken; 0 crops none.
    flip: Whether training flips images at random.

  Raises:
    ValueError: If examples that are not images are to be cropped or flipped.

  Example:
    >>> from isomax_jax.data import get_spec
    >>> preprocessing = make_preprocessing(get_spec("mnist_5k"), crop_padding=2, flip=False)
    >>> batch = Batch(jnp.ones((2, 28, 28, 1), jnp.uint8), jnp.zeros(2, int), jnp.arange(2))
    >>> preprocessing.prepare(jax.random.key(0), batch).dtype
    dtype('float32')
  """
  if not spec.is_images:
    if crop_padding or flip:
      raise ValueError(f"data.crop_padding and data.flip are for images, got {spec.name}")
    return Preprocessing(lambda key, batch: batch.images, lambda x: x, lambda x: x)

  def augment(key: jax.Array, batch: Batch[jax.Array]) -> jax.Array:
    keys, images = example_keys(key, batch.positions), batch.images
    if crop_padding:
      images = random_crop(keys, images, padding=crop_padding)
    return random_flip(keys, images) if flip else images

  return Preprocessing(augment, to_pixels, normalizer(spec))


def normalizer(spec: DataSpec) -> Callable[[_PixelsLike], _Pixels]:
  """Return the function that normalises pixels as a set asks for.

  With ``spec.normalization`` of ``"image"``, each image has its mean subtracted and is divided
  by its deviation, but at least by :data:`DEVIATION_FLOOR`, both over height, width and channels;
  otherwise every channel has the set's mean subtracted and is divided by the set's deviation.

  Args:
    spec: The set that a network is trained on. Out-sets are normalised as it is.

  Returns:
    A function from pixels of [0, 1], shape ``[..., height, width, channels]``, floating, to
    normalised pixels, the same shape, at least float32.

  Raises:
    ValueError: If the set's constants are not one mean and one deviation a channel.

  Example:
    >>> from isomax_jax.data import get_spec
    >>> normalise = normalizer(get_spec("mnist_5k"))
    >>> float(jnp.abs(normalise(jnp.full((28, 28, 1), 0.5))).max())
    0.0
  """
  if spec.normalization == "image":
    return _standardise
  mean, std = (jnp.asarray(constants, dtype=jnp.float32) for constants in spec.normalization)
  channels = spec.example_shape[-1]
  if mean.shape != (channels,) or std.shape != (channels,):
    raise ValueError(
      f"normalization of {spec.name} must have {channels} means and deviations, "
      f"got {mean.size} and {std.size}"
    )

  def normalise(pixels: _PixelsLike) -> jax.Array:
    pixels = _checks.floating("pixels", pixels)
    shape = (1,) * (pixels.ndim - 1) + (channels,)
    return (pixels - mean.reshape(shape)) / std.reshape(shape)

  return normalise


def _standardise(pixels: _PixelsLike) -> jax.Array:
  """Subtract each image's mean and divide by its floored deviation."""
  pixels = _checks.floating("pixels", pixels)
  centred = pixels - jnp.mean(pixels, axis=(-3, -2, -1), keepdims=True)
  variance = jnp.mean(jnp.square(centred), axis=(-3, -2, -1), keepdims=True)
  # Floored under the root, whose slope at zero is infinite: a flat image's gradient stays finite.
  return centred / jnp.sqrt(jnp.maximum(variance, DEVIATION_FLOOR**2))


def _check_batch(keys: jax.Array, images: AnyArray) -> jax.Array:
  """Return the images as an array, or raise ValueError unless each has a key."""
  images = jnp.asarray(images)
  if images.ndim != 4:
    raise ValueError(f"images must have shape [batch, height, width, channels], got {images.shape}")
  if keys.ndim < 1 or keys.shape[0] != images.shape[0]:
    raise ValueError(f"keys must have shape {images.shape[:1]}, got {keys.shape}")
  return images
