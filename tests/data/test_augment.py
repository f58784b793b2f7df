import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.data import (
  ChannelStatistics,
  example_keys,
  get_spec,
  normalizer,
  random_crop,
  random_flip,
  to_pixels,
)

SHAPE = (6, 5, 7, 3)
IMAGES = np.random.default_rng(0).integers(1, 256, SHAPE, dtype=np.uint8)
KEYS = jax.random.split(jax.random.key(7), SHAPE[0])

crop = jax.jit(random_crop, static_argnames="padding")
flip = jax.jit(random_flip)

CIFAR10 = ChannelStatistics(mean=(0.491, 0.482, 0.446), std=(0.247, 0.243, 0.261))


def with_normalization(normalization, channels=3):
  spec = get_spec("mnist_5k")
  return dataclasses.replace(spec, example_shape=(5, 7, channels), normalization=normalization)


class TransformedTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_same_result_under_every_transformation(self):
    cases = {
      to_pixels: (IMAGES,),
      random_flip: (KEYS, IMAGES),
      lambda keys, images: random_crop(keys, images, padding=2): (KEYS, IMAGES),
      normalizer(with_normalization("image")): (IMAGES / np.float32(255),),
      normalizer(with_normalization(CIFAR10)): (IMAGES / np.float32(255),),
    }
    for function, arguments in cases.items():
      result = self.variant(function)(*arguments)
      np.testing.assert_allclose(result, function(*arguments), rtol=1e-5, atol=1e-6)


def test_pixels():
  stored = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
  pixels = to_pixels(stored)
  assert pixels.dtype == jnp.float32
  np.testing.assert_allclose(pixels, stored / 255.0, rtol=1e-6)
  assert (pixels.min(), pixels.max()) == (0, 1)


def test_pixels_are_made_of_bytes_only():
  with pytest.raises(TypeError, match=r"^images must be uint8, got dtype float32$"):
    to_pixels(jnp.ones((2, 2)))


def test_keys_depend_on_the_position_alone():
  key = jax.random.key(3)
  whole = jax.random.key_data(example_keys(key, jnp.arange(10)))
  assert len({tuple(data) for data in whole.tolist()}) == 10
  some = jax.random.key_data(example_keys(key, jnp.array([7, 2])))
  np.testing.assert_array_equal(some, whole[jnp.array([7, 2])])
  other = jax.random.key_data(example_keys(jax.random.key(4), jnp.arange(10)))
  assert (other != whole).any(axis=1).all()


def test_positions_are_integers():
  with pytest.raises(TypeError, match=r"^positions must be integers, got dtype float32$"):
    example_keys(jax.random.key(0), jnp.arange(3.0))


@pytest.mark.parametrize("augment", [functools.partial(crop, padding=2), flip])
def test_draws_do_not_depend_on_how_the_batch_is_split(augment):
  images, key = np.concatenate([IMAGES] * 4), jax.random.key(1)
  positions = np.arange(len(images))

  def augmented(part):
    return np.asarray(augment(example_keys(key, positions[part]), images[part]))

  whole = augmented(slice(None))
  halves = np.concatenate([augmented(slice(0, 12)), augmented(slice(12, None))])
  np.testing.assert_array_equal(whole, halves)
  assert (whole != images).any()


def offsets_of(crop, image, padding):
  """Find where in the padded image the crop was cut, by NumPy."""
  height, width, _ = image.shape
  padded = np.zeros((height + 2 * padding, width + 2 * padding, image.shape[2]), image.dtype)
  padded[padding : padding + height, padding : padding + width] = image
  return [
    (top, left)
    for top in range(2 * padding + 1)
    for left in range(2 * padding + 1)
    if np.array_equal(padded[top : top + height, left : left + width], crop)
  ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_crops_are_windows_of_the_padded_image(dtype):
  images = np.concatenate([IMAGES] * 100).astype(dtype)
  crops = crop(jax.random.split(jax.random.key(0), len(images)), images, padding=2)
  assert (crops.dtype, crops.shape) == (dtype, images.shape)
  found = [offsets_of(*pair, 2) for pair in zip(np.asarray(crops), images, strict=True)]
  assert all(len(offsets) == 1 for offsets in found)
  times = np.zeros((5, 5), dtype=int)
  for ((top, left),) in found:
    times[top, left] += 1
  # 600 draws of 25 offsets: 24 each, give or take five standard deviations.
  assert times.min() > 0
  assert times.max() < 49


def test_crop_without_padding_changes_nothing():
  np.testing.assert_array_equal(crop(KEYS, IMAGES, padding=0), IMAGES)


def test_flip_mirrors_about_half_of_the_images():
  images = np.concatenate([IMAGES] * 100)
  flipped = np.asarray(flip(jax.random.split(jax.random.key(0), len(images)), images))
  assert flipped.dtype == np.uint8
  mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
  kept = (flipped == images).all(axis=(1, 2, 3))
  assert (mirrored ^ kept).all()
  assert 240 < mirrored.sum() < 360


def test_draws_of_a_key_never_change():
  keys = example_keys(jax.random.key(0), jnp.arange(6))
  crops = np.asarray(crop(keys, IMAGES, padding=2))
  offsets = [offsets_of(*pair, 2)[0] for pair in zip(crops, IMAGES, strict=True)]
  assert offsets == [(1, 2), (2, 1), (4, 3), (0, 4), (0, 0), (3, 1)]
  flipped = (np.asarray(flip(keys, IMAGES)) != IMAGES).any(axis=(1, 2, 3))
  assert flipped.tolist() == [True, True, False, False, False, False]


def test_crop_and_flip_of_one_key_are_independent():
  images = np.concatenate([IMAGES] * 200)
  keys = jax.random.split(jax.random.key(0), len(images))
  flipped = (np.asarray(flip(keys, images)) != images).any(axis=(1, 2, 3))
  crops = np.asarray(crop(keys, images, padding=1))
  offsets = np.array([offsets_of(*pair, 1)[0] for pair in zip(crops, images, strict=True)])
  for axis in (0, 1):
    for offset in range(3):
      share = flipped[offsets[:, axis] == offset].mean()
      assert 0.4 < share < 0.6


@pytest.mark.parametrize("function", [lambda k, x: random_crop(k, x, padding=1), random_flip])
def test_shapes_are_checked(function):
  with pytest.raises(ValueError, match=r"^images must have shape \[batch, .*\], got \(5, 7, 3\)$"):
    function(KEYS, IMAGES[0])
  with pytest.raises(ValueError, match=r"^keys must have shape \(6,\), got \(4,\)$"):
    function(KEYS[:4], IMAGES)
  with pytest.raises(ValueError, match=r"^keys must have shape \(6,\), got \(\)$"):
    function(KEYS[0], IMAGES)


def test_padding_is_not_negative():
  with pytest.raises(ValueError, match=r"^padding must be 0 or more, got -1$"):
    random_crop(KEYS, IMAGES, padding=-1)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("scale", [1.0, 1e-2])
def test_per_image_standardisation(batch, scale):
  pixels = np.random.default_rng(1).random((*batch, 5, 7, 3), dtype=np.float32) * scale
  exact = pixels.astype(np.float64)
  axes = (-3, -2, -1)
  mean, std = exact.mean(axis=axes, keepdims=True), exact.std(axis=axes, keepdims=True)
  expected = (exact - mean) / np.maximum(std, 1 / 28)
  # The small scale is below the floor, the large one is not.
  assert ((std < 1 / 28) == (scale < 1)).all()
  result = normalizer(with_normalization("image"))(pixels)
  assert result.dtype == jnp.float32
  np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_flat_images_are_finite_with_finite_gradients(value):
  normalise = normalizer(get_spec("mnist_5k"))
  pixels = jnp.full((2, 28, 28, 1), value)
  weights = jnp.asarray(np.random.default_rng(0).normal(size=pixels.shape), dtype=jnp.float32)
  weighted = jax.jit(jax.value_and_grad(lambda x: jnp.sum(weights * normalise(x))))
  result, gradient = weighted(pixels)
  np.testing.assert_allclose(result, 0, atol=1e-2)
  # A flat image is scaled by the floor, so the gradient is the weights' deviation times 28.
  expected = 28 * (weights - weights.mean(axis=(1, 2, 3), keepdims=True))
  np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_normalisation_by_the_constants_of_a_set(batch):
  pixels = np.random.default_rng(1).random((*batch, 5, 7, 3), dtype=np.float32)
  result = normalizer(with_normalization(CIFAR10))(pixels)
  assert result.dtype == jnp.float32
  expected = (pixels.astype(np.float64) - CIFAR10.mean) / CIFAR10.std
  np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalization", ["image", CIFAR10])
def test_normalisation_takes_pixels(normalization):
  normalise = normalizer(with_normalization(normalization))
  assert normalise(jnp.ones((2, 5, 7, 3), dtype=jnp.bfloat16)).dtype == jnp.float32
  with pytest.raises(TypeError, match=r"^pixels must be floating, got dtype uint8$"):
    normalise(IMAGES)


@pytest.mark.parametrize("counts", [(3, 3), (1, 3), (3, 1)])
def test_constants_are_one_of_each_for_every_channel(counts):
  constants = ChannelStatistics(*((0.5,) * count for count in counts))
  message = "^normalization of mnist_5k must have 1 means and deviations, got {} and {}$"
  with pytest.raises(ValueError, match=message.format(*counts)):
    normalizer(with_normalization(constants, channels=1))
