"""IsoMax and IsoMax+ logits against the formulas in float64."""

import re

import chex
import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.losses import isomax_logits, isomax_plus_logits
from tests import oracles
from tests.variants import MAPPED, VARIANTS

jitted = jax.jit(isomax_plus_logits)


def draw(rows, width, classes):
  generator = np.random.default_rng(rows * width * classes)
  shapes = (rows, width), (classes, width), (rows, classes)
  return tuple(np.float32(generator.normal(size=shape)) for shape in shapes)


@jax.jit
def plus_and_gradients(features, prototypes, distance_scale, cotangent):
  logits, pull_back = jax.vjp(isomax_plus_logits, features, prototypes, distance_scale)
  return logits, *pull_back(cotangent)


def assert_gradients(actual, expected):
  for gradient, right in zip(actual, expected, strict=True):
    # A component is a sum over classes or rows that may cancel; the terms set the scale.
    np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


def test_isomax_is_the_negative_distance():
  features, prototypes, cotangent = draw(3, 7, 2)

  @jax.jit
  def logits_and_gradients(features, prototypes):
    logits, pull_back = jax.vjp(isomax_logits, features, prototypes)
    return logits, pull_back(cotangent)

  logits, gradients = logits_and_gradients(features, prototypes)
  np.testing.assert_allclose(logits, oracles.isomax_logits(features, prototypes), rtol=1e-5)
  expected = oracles.isomax_logits_gradient(features, prototypes, cotangent)
  assert_gradients(gradients, expected)


@pytest.mark.parametrize(
  ("shape", "scale"),
  [((1, 1, 1), 1.5), ((3, 7, 2), 0.1), ((3, 7, 2), -2.0), ((64, 512, 1000), 3.0)],
)
def test_isomax_plus_values_and_gradients(shape, scale):
  features, prototypes, cotangent = draw(*shape)
  actual = plus_and_gradients(features, prototypes, jnp.float32(scale), cotangent)
  expected = oracles.isomax_plus_logits(features, prototypes, scale)
  # The unit vectors are rounded before they are subtracted: absolute error of a few ulps of 1.
  np.testing.assert_allclose(actual[0], expected, rtol=1e-5, atol=3e-7)
  if shape[1] > 1:  # a number has no direction to change, so its gradient is rounding alone
    expected = oracles.isomax_plus_logits_gradient(features, prototypes, scale, cotangent)
    assert_gradients(actual[1:], expected)
  chex.assert_tree_all_finite(actual)


@pytest.mark.parametrize("variant", MAPPED)
def test_variants(variant):
  features, prototypes, cotangent = draw(8, 5, 3)

  def both(features, cotangent, prototypes, scale):
    isomax, of_isomax = jax.vjp(lambda f: isomax_logits(f, prototypes), features)
    plus, of_plus = jax.vjp(lambda f: isomax_plus_logits(f, prototypes, scale), features)
    return isomax, of_isomax(cotangent)[0], plus, of_plus(cotangent)[0]

  function = VARIANTS[variant](both, (True, True, False, False))
  isomax, of_isomax, plus, of_plus = function(features, cotangent, prototypes, np.float32(1.5))
  np.testing.assert_allclose(isomax, oracles.isomax_logits(features, prototypes), rtol=1e-5)
  np.testing.assert_allclose(plus, oracles.isomax_plus_logits(features, prototypes, 1.5), rtol=1e-5)
  isomax_gradient, _ = oracles.isomax_logits_gradient(features, prototypes, cotangent)
  plus_gradient, *_ = oracles.isomax_plus_logits_gradient(features, prototypes, 1.5, cotangent)
  assert_gradients((of_isomax, of_plus), (isomax_gradient, plus_gradient))


def test_forward_mode_reverse_mode_and_second_derivatives():
  features, prototypes, cotangent = draw(4, 6, 3)
  primals = features, prototypes, np.float32(1.5)
  tangents = *draw(4, 6, 3)[1::-1][::-1], np.float32(0.7)

  @jax.jit
  def derivatives(primals, tangents):
    def gradient(*primals):
      return jax.vjp(isomax_plus_logits, *primals)[1](cotangent)

    _, forward = jax.jvp(isomax_plus_logits, primals, tangents)
    return forward, *jax.jvp(gradient, primals, tangents)

  forward, reverse, second = derivatives(primals, tangents)
  expected = oracles.directional_derivative(oracles.isomax_plus_logits, primals, tangents)
  np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-5)
  pulled = sum(np.vdot(g, v) for g, v in zip(reverse, tangents, strict=True))
  np.testing.assert_allclose(pulled, np.vdot(cotangent, forward), rtol=1e-4)
  for i, actual in enumerate(second):
    expected = oracles.directional_derivative(
      lambda *points, i=i: oracles.isomax_plus_logits_gradient(*points, cotangent)[i],
      primals,
      tangents,
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@jax.jit
def first_and_second_derivatives(features, prototypes, cotangent):
  def gradients(features, prototypes, distance_scale):
    return plus_and_gradients(features, prototypes, distance_scale, cotangent)[1:]

  arguments = features, prototypes, jnp.float32(2)
  return gradients(*arguments), jax.jacrev(gradients, (0, 1, 2))(*arguments)


@pytest.mark.parametrize("zero", ["features", "prototypes", "both"])
def test_zero_vectors_normalise_to_zero_with_finite_derivatives(zero):
  features, prototypes, cotangent = draw(3, 7, 2)
  features = features * (zero == "prototypes")
  prototypes = prototypes * (zero == "features")
  logits = jitted(features, prototypes, jnp.float32(2))
  np.testing.assert_allclose(logits, np.full((3, 2), 0 if zero == "both" else -2), rtol=1e-6)
  chex.assert_tree_all_finite(first_and_second_derivatives(features, prototypes, cotangent))


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1e4, 1e30])
def test_lengths_do_not_matter(size):
  features, prototypes, _ = draw(3, 7, 2)
  size = np.float32(size)
  logits = jitted(size * features, prototypes / size, jnp.float32(1))
  np.testing.assert_allclose(
    logits, oracles.isomax_plus_logits(features, prototypes, 1.0), rtol=1e-5
  )


def test_same_direction_is_at_distance_zero_with_gradient_zero():
  prototypes, cotangent = np.eye(2, 7, dtype=np.float32), np.float32([[1, 0], [1, 0], [0, 1]])
  features = 3 * cotangent @ prototypes
  logits, *gradients = plus_and_gradients(features, prototypes, jnp.float32(1), cotangent)
  np.testing.assert_array_equal(np.asarray(logits) == 0, cotangent == 1)
  for gradient in gradients:
    np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_zero_scale_has_finite_gradients():
  features, prototypes, cotangent = draw(3, 7, 2)
  logits, *gradients = plus_and_gradients(features, prototypes, jnp.float32(0), cotangent)
  np.testing.assert_array_equal(logits, 0)
  chex.assert_tree_all_finite(gradients)


def test_nan_is_not_normalised_away():
  features, prototypes, _ = draw(3, 7, 2)
  features[1, 2] = np.nan
  logits = np.asarray(jitted(features, prototypes, jnp.float32(1)))
  np.testing.assert_array_equal(np.isnan(logits).all(-1), [False, True, False])
  assert np.isfinite(logits[::2]).all()
  prototypes[0, 0] = np.nan
  logits = np.asarray(jitted(features, prototypes, jnp.float32(1)))
  assert np.isnan(logits[:, 0]).all()


def test_low_precision_is_computed_in_float32():
  features, prototypes, _ = (jnp.asarray(x, jnp.bfloat16) for x in draw(3, 7, 2))
  logits = jitted(features, prototypes, jnp.bfloat16(1.5))
  expected = oracles.isomax_plus_logits(features, prototypes, 1.5)
  np.testing.assert_allclose(logits, expected, rtol=1e-5)
  for dtype in (jnp.bfloat16, jnp.float16):
    features, prototypes = features.astype(dtype), prototypes.astype(dtype)
    assert jax.eval_shape(isomax_plus_logits, features, prototypes, 1.5).dtype == jnp.float32
    assert jax.eval_shape(isomax_logits, features, prototypes).dtype == jnp.float32


def test_float64_stays_float64():
  with jax.enable_x64(True):
    features, prototypes, _ = np.float64(draw(3, 7, 2)[0]), *draw(3, 7, 2)[1:]
    logits = jitted(features, prototypes, 1.5)
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(
      logits, oracles.isomax_plus_logits(features, prototypes, 1.5), rtol=1e-13
    )


def test_leading_shapes():
  features = np.float32(np.random.default_rng(0).normal(size=(2, 3, 7)))
  prototypes = draw(3, 7, 2)[1]
  for function, options in ((isomax_logits, ()), (isomax_plus_logits, (1.5,))):
    logits = jax.jit(function)(features, prototypes, *options)
    expected = getattr(oracles, function.__name__)(features, prototypes, *options)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    chex.assert_shape(jax.eval_shape(function, features[0, 0], prototypes, *options), (2,))


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(isomax_plus_logits, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float), jnp.ones((3, 2)), 1.5)


def test_strict_promotion_of_dtypes_is_enough():
  features, prototypes, _ = draw(3, 7, 2)
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(isomax_logits, features.astype(jnp.bfloat16), prototypes)
    jax.eval_shape(isomax_plus_logits, features.astype(jnp.bfloat16), prototypes, jnp.float32(1))


def vectors(*shape):
  elements = st.integers(-800, 800).map(lambda i: i / 100)
  return hypothesis.extra.numpy.arrays(np.float32, shape, elements=elements)


@hypothesis.settings(max_examples=40)
@hypothesis.given(vectors(3, 7), vectors(2, 7))
def test_range_and_class_permutation(features, prototypes):
  logits = np.asarray(jitted(features, prototypes, jnp.float32(1)))
  assert ((logits <= 0) & (logits >= -2.000001)).all()
  permuted = jitted(features, prototypes[::-1], jnp.float32(1))
  np.testing.assert_allclose(permuted, logits[:, ::-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("arguments", "error", "message"),
  [
    ((jnp.ones((2, 3), int), jnp.ones((4, 3)), 1.0), TypeError, "features must be floating, got"),
    ((jnp.ones((2, 3)), jnp.ones((4, 3), int), 1.0), TypeError, "prototypes must be floating, got"),
    (
      (jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(1)),
      ValueError,
      "distance_scale must have shape (), got (1,)",
    ),
    (
      (jnp.ones(()), jnp.ones((4, 3)), 1.0),
      ValueError,
      "features must have shape [..., 3] to fit prototypes of shape (4, 3), got ()",
    ),
    (
      (jnp.ones((2, 3)), jnp.ones(3), 1.0),
      ValueError,
      "prototypes must have shape [classes, features] with a class or more, got (3,)",
    ),
  ],
)
def test_bad_arguments(arguments, error, message):
  with pytest.raises(error, match=f"^{re.escape(message)}"):
    isomax_plus_logits(*arguments)
