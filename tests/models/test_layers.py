import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.models._layers import make_layers, spatial_mean
from tests import oracles


def layers(*, train=False, dtype=jnp.float32, axis_name=None):
  return make_layers(train=train, dtype=dtype, axis_name=axis_name)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0)])
def test_convolutions_pad_all_sides_alike(size, stride, padding):
  convolution, _ = layers()
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
  actual, variables = convolution(5, size, stride).init_with_output(jax.random.key(0), images)
  assert set(variables["params"]) == {"kernel"}
  expected = oracles.convolution(
    images, variables["params"]["kernel"], stride=stride, padding=padding
  )
  np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_kernels_start_normal_by_the_number_of_outputs(size):
  convolution, _ = layers()
  variables = convolution(256, size).init(jax.random.key(0), jnp.zeros((1, 4, 4, 64)))
  z = np.asarray(variables["params"]["kernel"]) / np.sqrt(2 / (size**2 * 256))
  assert abs(z.mean()) < 5 / np.sqrt(z.size)
  assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size)
  assert np.abs(z).max() > 3.5  # a truncated normal ends at 2.3 of its standard deviations


def test_norm_averages_its_statistics_over_the_axis():
  _, norm = layers(train=True, axis_name="data")
  images = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 5)).astype(np.float32)
  _, whole_norm = layers(train=True)
  whole = images.reshape(6, 4, 4, 5)
  variables = whole_norm().init(jax.random.key(0), whole)

  def apply(images):
    return norm().apply(variables, images, mutable=["batch_stats"])

  y, updates = jax.vmap(apply, axis_name="data")(images)
  expected_y, expected_updates = whole_norm().apply(variables, whole, mutable=["batch_stats"])
  np.testing.assert_allclose(y.reshape(whole.shape), expected_y, rtol=1e-5, atol=1e-5)
  for name, expected in expected_updates["batch_stats"].items():
    for actual in updates["batch_stats"][name]:
      np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_spatial_mean_adds_in_float32():
  x = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
  x = jnp.asarray(x, jnp.bfloat16)
  mean = spatial_mean(x)
  assert mean.dtype == jnp.float32
  np.testing.assert_allclose(mean, np.asarray(x, np.float64).mean((1, 2)), rtol=1e-5, atol=1e-7)


def test_spatial_mean_keeps_float64():
  with jax.enable_x64(True):
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    mean = spatial_mean(x)
    assert mean.dtype == jnp.float64
    np.testing.assert_allclose(mean, x.mean((1, 2)), rtol=1e-12, atol=1e-15)
