"""Outlier exposure against the formula in float64."""

import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.losses import outlier_exposure
from tests import oracles
from tests.variants import MAPPED, VARIANTS

OPTIONS = {"entropic_scale": 10.0}
jitted = jax.jit(outlier_exposure)


def loss_and_gradient(logits, cotangent, entropic_scale=10.0):
  loss, pull_back = jax.vjp(partial(outlier_exposure, entropic_scale=entropic_scale), logits)
  return loss, *pull_back(cotangent)


def draw(rows, classes):
  generator = np.random.default_rng(rows * classes)
  logits = 0.3 * generator.normal(size=(rows, classes))
  return np.float32(logits), np.float32(generator.normal(size=rows))


def assert_gradient(actual, expected):
  # p - 1 / C cancels where p is nearly uniform.
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * 10 / expected.shape[-1])


@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (3, 2), (64, 1000)])
@pytest.mark.parametrize("entropic_scale", [1.0, 10.0])
def test_values_and_gradients(rows, classes, entropic_scale):
  logits, cotangent = draw(rows, classes)
  loss, gradient = jax.jit(loss_and_gradient)(logits, cotangent, entropic_scale)
  options = {"entropic_scale": entropic_scale}
  expected = oracles.outlier_exposure(logits, **options)
  np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-7)
  assert_gradient(gradient, oracles.outlier_exposure_gradient(logits, cotangent, **options))


@pytest.mark.parametrize("variant", MAPPED)
def test_variants(variant):
  logits, cotangent = draw(8, 5)
  loss, gradient = VARIANTS[variant](loss_and_gradient, (True, True))(logits, cotangent)
  np.testing.assert_allclose(loss, oracles.outlier_exposure(logits, **OPTIONS), rtol=1e-5)
  assert_gradient(gradient, oracles.outlier_exposure_gradient(logits, cotangent, **OPTIONS))


def test_forward_mode_reverse_mode_and_second_derivatives():
  logits, cotangent = draw(4, 5)
  tangent = np.float32(np.random.default_rng(1).normal(size=(4, 5)))

  @jax.jit
  def derivatives(logits, tangent):
    _, forward = jax.jvp(outlier_exposure, (logits,), (tangent,))
    gradient = lambda logits: loss_and_gradient(logits, cotangent)[1]  # noqa: E731
    return forward, *jax.jvp(gradient, (logits,), (tangent,))

  forward, reverse, second = derivatives(logits, tangent)
  value, gradient = (
    partial(function, **OPTIONS)
    for function in (oracles.outlier_exposure, oracles.outlier_exposure_gradient)
  )
  expected = oracles.directional_derivative(value, (logits,), (tangent,))
  np.testing.assert_allclose(forward, expected, rtol=1e-4)
  np.testing.assert_allclose(np.vdot(reverse, tangent), np.vdot(forward, cotangent), rtol=1e-4)
  expected = oracles.directional_derivative(
    lambda logits: gradient(logits, cotangent), (logits,), (tangent,)
  )
  np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1e2, 1e4])
def test_huge_and_tiny_logits_are_finite(size):
  logits = np.float32([[-1, -2, -1.5], [0, 0, 0]]) * np.float32(size)
  loss, gradient = jax.jit(loss_and_gradient)(logits, np.ones(2, np.float32))
  chex.assert_tree_all_finite((loss, gradient))
  np.testing.assert_allclose(loss, oracles.outlier_exposure(logits, **OPTIONS), rtol=1e-5)


def test_uniform_logits_are_the_minimum():
  loss, gradient = jax.jit(loss_and_gradient)(jnp.full((2, 7), -3.0), jnp.ones(2))
  np.testing.assert_allclose(loss, np.full(2, np.log(7)), rtol=1e-6)
  np.testing.assert_allclose(gradient, np.zeros((2, 7)), atol=1e-6)


def test_low_precision_is_computed_in_float32():
  logits = jnp.asarray(draw(8, 5)[0], jnp.bfloat16)
  np.testing.assert_allclose(jitted(logits), oracles.outlier_exposure(logits, **OPTIONS), rtol=1e-5)
  for dtype in (jnp.bfloat16, jnp.float16):
    assert jax.eval_shape(outlier_exposure, logits.astype(dtype)).dtype == jnp.float32


def test_float64_stays_float64():
  with jax.enable_x64(True):
    logits = np.float64(draw(8, 5)[0])
    loss = jax.jit(outlier_exposure)(logits)
    assert loss.dtype == jnp.float64
    np.testing.assert_allclose(loss, oracles.outlier_exposure(logits, **OPTIONS), rtol=1e-13)


@pytest.mark.parametrize("batch", [(2, 3), (0,)])
def test_leading_shapes(batch):
  logits = np.float32(np.random.default_rng(0).normal(size=(*batch, 4)))
  loss = jitted(logits)
  chex.assert_shape(loss, batch)
  np.testing.assert_allclose(loss, oracles.outlier_exposure(logits, **OPTIONS), rtol=1e-5)


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(outlier_exposure, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float))


def test_strict_promotion_of_dtypes_is_enough():
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(outlier_exposure, jnp.ones((2, 3), jnp.bfloat16))


@pytest.mark.parametrize(
  ("logits", "options", "error", "message"),
  [
    (jnp.ones((2, 3), int), {}, TypeError, "logits must be floating, got dtype int32"),
    (
      jnp.ones((2, 0)),
      {},
      ValueError,
      "logits must have shape [..., classes] with a class or more, got (2, 0)",
    ),
    (
      jnp.ones((2, 3)),
      {"entropic_scale": -1},
      ValueError,
      "entropic_scale must be a positive, finite number, got -1",
    ),
  ],
)
def test_bad_arguments(logits, options, error, message):
  with pytest.raises(error, match=f"^{re.escape(message)}$"):
    outlier_exposure(logits, **options)
