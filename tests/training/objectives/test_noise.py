import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from isomax_jax.training.objectives._noise import blur, low_frequency_noise
from isomax_jax.typing import Batch

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).uniform(size=(8, 9, 12, 3)).astype(np.float32)


def batch_of(images, positions=None):
  positions = np.arange(len(images)) if positions is None else positions
  return Batch(jnp.asarray(images), jnp.zeros(len(images), int), jnp.asarray(positions))


@pytest.mark.parametrize("sigma", [1.0, 1.7, 2.5])
@pytest.mark.parametrize("shape", [(32, 32, 3), (5, 9, 1)])  # One smaller than the filter.
def test_the_filter_is_scipys(sigma, shape):
  image = np.random.default_rng(1).uniform(size=shape)
  expected = ndimage.gaussian_filter(image, sigma, mode="reflect", radius=7, axes=(0, 1))
  np.testing.assert_allclose(blur(image, sigma, radius=7), expected, rtol=1e-5)


@pytest.mark.slow
def test_noise_is_shuffled_pixels_or_uniform_noise_filtered_and_stretched(monkeypatch):
  noise = low_frequency_noise(KEY, batch_of(IMAGES))
  with monkeypatch.context() as patch:
    patch.setattr(
      "isomax_jax.training.objectives._noise.blur", lambda image, sigma, radius: (image, sigma)
    )
    patch.setattr("isomax_jax.training.objectives._noise._stretch", lambda drawn: drawn)
    raw, sigmas = low_frequency_noise(KEY, batch_of(IMAGES))
  assert len(set(sigmas.tolist())) == len(sigmas)
  assert 1 <= sigmas.min() < 1.5 < 2 < sigmas.max() <= 2.5
  for position, (image, pixels, sigma) in enumerate(zip(IMAGES, raw, sigmas, strict=True)):
    assert np.any(pixels != image)
    same = np.array_equal(*(np.unique(x.reshape(-1, 3), axis=0) for x in (pixels, image)))
    assert same == (position % 2 == 0)
    smooth = ndimage.gaussian_filter(np.float64(pixels), float(sigma), radius=7, axes=(0, 1))
    expected = (smooth - smooth.min()) / np.ptp(smooth)
    np.testing.assert_allclose(noise[position], expected, atol=1e-5)
  uniform = raw[1::2]
  assert uniform.mean() == pytest.approx(0.5, abs=0.03)
  assert uniform.min() < 0.01 < 0.99 < uniform.max()


@pytest.mark.slow
def test_noise_has_the_full_range_of_pixels():
  noise = low_frequency_noise(KEY, batch_of(IMAGES))
  np.testing.assert_array_equal(noise.min((1, 2, 3)), np.zeros(8))
  np.testing.assert_allclose(noise.max((1, 2, 3)), np.ones(8), rtol=1e-6)


@pytest.mark.slow
def test_flat_images_give_pixels_too():
  flat = np.float32([0.0, 0.5, 0.3, 0.5, 1.0]).reshape(-1, 1, 1, 1) * np.ones((6, 6, 1), np.float32)
  noise = low_frequency_noise(KEY, batch_of(flat))
  assert np.all((noise >= 0) & (noise <= 1))


def test_draws_are_those_of_the_position():
  whole = low_frequency_noise(KEY, batch_of(IMAGES))
  part = low_frequency_noise(KEY, batch_of(IMAGES[4:6], positions=[4, 5]))
  np.testing.assert_allclose(part, whole[4:6], rtol=1e-6, atol=1e-6)
  other = low_frequency_noise(jax.random.key(1), batch_of(IMAGES))
  assert not np.allclose(other, whole)


def test_what_is_wrong_is_named():
  with pytest.raises(TypeError, match="images must be floating, got dtype uint8"):
    low_frequency_noise(KEY, batch_of(np.zeros((2, 4, 4, 1), np.uint8)))
  with pytest.raises(ValueError, match=r"sigmas\[0\] must be a positive, finite number, got 0"):
    low_frequency_noise(KEY, batch_of(IMAGES), sigmas=(0, 1))
  with pytest.raises(ValueError, match=r"sigmas must be in rising order, got \(2, 1\)"):
    low_frequency_noise(KEY, batch_of(IMAGES), sigmas=(2, 1))
