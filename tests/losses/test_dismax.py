"""DisMax logits against the formula in float64."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.losses import dismax_logits
from tests import oracles
from tests.variants import MAPPED, VARIANTS

jitted = jax.jit(dismax_logits)


def draw(rows, width, classes):
  generator = np.random.default_rng(rows * width * classes)
  shapes = (rows, width), (classes, width), (rows, classes)
  return tuple(np.float32(generator.normal(size=shape)) for shape in shapes)


@jax.jit
def logits_and_gradients(features, prototypes, distance_scale, cotangent):
  logits, pull_back = jax.vjp(dismax_logits, features, prototypes, distance_scale)
  return logits, *pull_back(cotangent)


def assert_gradients(actual, expected):
  for gradient, right in zip(actual, expected, strict=True):
    np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize(
  ("shape", "scale"),
  [((1, 1, 1), 1.5), ((3, 7, 2), 0.1), ((3, 7, 2), -2.0), ((64, 512, 1000), 3.0)],
)
def test_values_and_gradients(shape, scale):
  features, prototypes, cotangent = draw(*shape)
  actual = logits_and_gradients(features, prototypes, jnp.float32(scale), cotangent)
  expected = oracles.dismax_logits(features, prototypes, scale)
  np.testing.assert_allclose(actual[0], expected, rtol=1e-5, atol=3e-7)
  if shape[1] > 1:  # a number has no direction to change, so its gradient is rounding alone
    expected = oracles.dismax_logits_gradient(features, prototypes, scale, cotangent)
    assert_gradients(actual[1:], expected)
  chex.assert_tree_all_finite(actual)


@pytest.mark.parametrize("variant", MAPPED)
def test_variants(variant):
  features, prototypes, cotangent = draw(8, 5, 3)

  def of_features(features, cotangent, prototypes, scale):
    return logits_and_gradients(features, prototypes, scale, cotangent)[:2]

  function = VARIANTS[variant](of_features, (True, True, False, False))
  logits, gradient = function(features, cotangent, prototypes, np.float32(1.5))
  np.testing.assert_allclose(logits, oracles.dismax_logits(features, prototypes, 1.5), rtol=1e-5)
  expected, *_ = oracles.dismax_logits_gradient(features, prototypes, 1.5, cotangent)
  assert_gradients((gradient,), (expected,))


def test_forward_mode_reverse_mode_and_second_derivatives():
  features, prototypes, cotangent = draw(4, 6, 3)
  primals = features, prototypes, np.float32(1.5)
  tangents = *draw(4, 6, 3)[:2], np.float32(0.7)

  @jax.jit
  def derivatives(primals, tangents):
    _, forward = jax.jvp(dismax_logits, primals, tangents)
    gradient = jax.grad(lambda *primals: jnp.vdot(dismax_logits(*primals), cotangent), (0, 1, 2))
    return forward, *jax.jvp(gradient, primals, tangents)

  forward, reverse, second = derivatives(primals, tangents)
  expected = oracles.directional_derivative(oracles.dismax_logits, primals, tangents)
  np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-5)
  pulled = sum(np.vdot(g, v) for g, v in zip(reverse, tangents, strict=True))
  np.testing.assert_allclose(pulled, np.vdot(cotangent, forward), rtol=1e-4)
  for i, actual in enumerate(second):
    expected = oracles.directional_derivative(
      lambda *points, i=i: oracles.dismax_logits_gradient(*points, cotangent)[i], primals, tangents
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_zero_vectors_have_finite_gradients():
  features, prototypes, cotangent = draw(3, 7, 2)
  for f, p in ((0 * features, prototypes), (features, 0 * prototypes)):
    logits, *gradients = logits_and_gradients(f, p, jnp.float32(1), cotangent)
    np.testing.assert_allclose(logits, np.full((3, 2), -2 / np.sqrt(2)), rtol=1e-6)
    chex.assert_tree_all_finite(gradients)


def test_low_precision_is_computed_in_float32():
  features, prototypes, _ = (jnp.asarray(x, jnp.bfloat16) for x in draw(3, 7, 2))
  logits = jitted(features, prototypes, jnp.bfloat16(1.5))
  np.testing.assert_allclose(logits, oracles.dismax_logits(features, prototypes, 1.5), rtol=1e-5)
  for dtype in (jnp.bfloat16, jnp.float16):
    features, prototypes = features.astype(dtype), prototypes.astype(dtype)
    assert jax.eval_shape(dismax_logits, features, prototypes, 1.5).dtype == jnp.float32


def test_float64_stays_float64():
  with jax.enable_x64(True):
    features, prototypes, _ = (np.float64(x) for x in draw(3, 7, 2))
    logits = jitted(features, prototypes, 1.5)
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, oracles.dismax_logits(features, prototypes, 1.5), rtol=1e-13)


def test_leading_shapes():
  features = np.float32(np.random.default_rng(0).normal(size=(2, 3, 7)))
  prototypes = draw(3, 7, 2)[1]
  expected = oracles.dismax_logits(features, prototypes, 1.5)
  np.testing.assert_allclose(jitted(features, prototypes, 1.5), expected, rtol=1e-5)
  chex.assert_shape(jax.eval_shape(dismax_logits, features[0, 0], prototypes, 1.5), (2,))


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(dismax_logits, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float), jnp.ones((3, 2)), 1.0)


def test_strict_promotion_of_dtypes_is_enough():
  features, prototypes, _ = draw(3, 7, 2)
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(dismax_logits, features.astype(jnp.bfloat16), prototypes, jnp.float32(1))


@pytest.mark.parametrize(
  ("arguments", "error", "message"),
  [
    ((jnp.ones((2, 3), int), jnp.ones((4, 3)), 1.0), TypeError, "features must be floating, got"),
    ((jnp.ones((2, 3)), jnp.ones((4, 3), int), 1.0), TypeError, "prototypes must be floating, got"),
    (
      (jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(2)),
      ValueError,
      "distance_scale must have shape (), got (2,)",
    ),
    (
      (jnp.ones((2, 5)), jnp.ones((4, 3)), 1.0),
      ValueError,
      "features must have shape [..., 3] to fit prototypes of shape (4, 3), got (2, 5)",
    ),
  ],
)
def test_bad_arguments(arguments, error, message):
  with pytest.raises(error, match=f"^{re.escape(message)}"):
    dismax_logits(*arguments)
