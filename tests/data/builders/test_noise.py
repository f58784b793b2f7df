import hashlib

import numpy as np
import pytest
from scipy import stats

from isomax_jax.data import load
from isomax_jax.data.builders import gaussian_noise, uniform_noise


@pytest.fixture
def noise(tmp_path, shrink):
  def load_noise(name, count=20):
    shrink(f"{name}/32x32x3", test=count)
    return load(f"{name}/32x32x3", "test", data_dir=tmp_path).images

  return load_noise


def test_uniform_values_are_equally_likely(noise):
  images = noise("uniform_noise")
  assert images.shape == (20, 32, 32, 3)
  counts = np.bincount(images.ravel(), minlength=256)
  assert stats.chisquare(counts).pvalue > 1e-3
  assert len({image.tobytes() for image in images}) == 20


def test_gaussian_values_are_clipped_normal_ones(noise):
  pixels = noise("gaussian_noise").ravel()
  # What rounds to a byte lies within half a step of it; what is clipped piles up at both ends.
  edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
  expected = np.diff(stats.norm(0.5, 1).cdf(edges)) * pixels.size
  counts = np.bincount(pixels, minlength=256)
  assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-3
  assert 0.29 < (pixels == 0).mean() < 0.33


def test_inverse_of_the_normal_distribution():
  bits = np.array([0, 2**31, 2**32 - 1, int(2**32 * stats.norm.cdf(0.25))], dtype=np.uint32)
  assert gaussian_noise.Builder.from_uniform(bits).tolist() == [0, 128, 255, 191]
  assert uniform_noise.Builder.from_uniform(bits).tolist() == [0, 128, 255, 153]


@pytest.mark.parametrize(
  ("name", "digest"),
  [("uniform_noise", "f4895002a5dc6908"), ("gaussian_noise", "c0849557986d703e")],
)
def test_noise_never_changes(name, digest, noise):
  assert hashlib.sha256(noise(name).tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("shape", ["5x7x3", "5x7x1"])
def test_any_shape(shape, tmp_path, shrink):
  shrink("uniform_noise/32x32x3", test=9)
  images = load(f"uniform_noise/{shape}", "test", data_dir=tmp_path).images
  assert images.shape == (9, *map(int, shape.split("x")))


@pytest.mark.parametrize("shape", ["", "32x32", "0x32x3", "32x32x2", "32x32x3x3", "99999x1x1"])
def test_shape_is_checked(shape, tmp_path):
  message = rf"^shape of images must be like 32x32x3 \(1 or 3 channels\), got '{shape}'$"
  with pytest.raises(ValueError, match=message):
    load(f"uniform_noise/{shape}", "test", data_dir=tmp_path)
