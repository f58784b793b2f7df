"""Scores and their gradients against the formulas in float64; higher = more in-distribution."""

import re
from functools import partial

import chex
import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax import scores
from tests import oracles
from tests.variants import MAPPED, VARIANTS

NAMES = ("maximum_probability", "log_odds", "entropic_score", "max_logit", "energy", "mmles")
BOUNDED = ("maximum_probability", "entropic_score")


def all_scores(logits):
  return {name: getattr(scores, name)(logits) for name in NAMES}


def scores_and_gradients(logits, cotangent):
  values, pull_back = jax.vjp(all_scores, logits)
  # One row a score: a cotangent for that score and zeros for the rest.
  rows = jnp.eye(len(NAMES))
  one_hot = {name: jnp.multiply.outer(rows[:, i], cotangent) for i, name in enumerate(NAMES)}
  (gradients,) = jax.vmap(pull_back)(one_hot)
  return values, dict(zip(NAMES, gradients, strict=True))


jitted = jax.jit(all_scores)
jitted_with_gradients = jax.jit(scores_and_gradients)


def draw(rows, classes, *, size=1.0):
  generator = np.random.default_rng(rows * classes)
  logits = np.float32(size * generator.normal(size=(rows, classes)))
  return logits, np.float32(generator.normal(size=rows))


def expected_scores(logits):
  return {name: getattr(oracles, name)(logits) for name in NAMES}


def expected_gradients(logits, cotangent):
  return {name: getattr(oracles, f"{name}_gradient")(logits, cotangent) for name in NAMES}


def assert_scores(actual, logits):
  for name, right in expected_scores(logits).items():
    np.testing.assert_allclose(actual[name], right, rtol=1e-5, atol=1e-6, err_msg=name)


def assert_gradients(actual, logits, cotangent):
  for name, right in expected_gradients(logits, cotangent).items():
    # A component may be the small difference of two terms of the largest one's size, or of 1.
    largest = np.abs(right).max(-1, keepdims=True, initial=0)
    error = np.abs(actual[name] - right)
    assert (error <= 1e-4 * np.abs(right) + 2e-6 * largest + 1e-6).all(), name


@pytest.mark.parametrize(
  ("rows", "classes", "size"), [(1, 1, 1), (4, 3, 1e-6), (4, 3, 5), (64, 1000, 3)]
)
def test_values_and_gradients(rows, classes, size):
  logits, cotangent = draw(rows, classes, size=size)
  values, gradients = jitted_with_gradients(logits, cotangent)
  assert_scores(values, logits)
  if classes == 1:  # no other class, so an odds of infinity that does not move
    assert gradients.pop("log_odds") == 0
    assert values.pop("log_odds") == np.inf
    gradients["log_odds"] = np.zeros((1, 1))
  assert_gradients(gradients, logits, cotangent)
  chex.assert_tree_all_finite((values, gradients))


def test_confident_scores_and_gradients_keep_their_digits():
  logits = np.float32([[0, -gap, -gap - 1] for gap in (10, 20, 40, 80)])
  values, gradients = jitted_with_gradients(logits, np.ones(4, np.float32))
  expected = expected_scores(logits)
  for name in ("entropic_score", "log_odds"):
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-5)
  expected = expected_gradients(logits, np.ones(4))
  for name in ("entropic_score", "log_odds", "maximum_probability"):
    np.testing.assert_allclose(gradients[name], expected[name], rtol=1e-4, err_msg=name)


def test_log_odds_rank_what_saturates():
  values = jitted(np.float32([[gap, 0, 0] for gap in (20, 40, 80, 160)]))
  np.testing.assert_array_equal(values["maximum_probability"], 1)
  expected = np.array([20, 40, 80, 160]) - np.log(2)
  np.testing.assert_allclose(values["log_odds"], expected, rtol=1e-6)


def test_gaps_of_1000_and_logits_of_1e4():
  logits = np.float32([[0, -1000, -2000], [-1e4, -2e4, -1.5e4], [0, 0, 0], [-1e4, -1e4, -1e4]])
  values, gradients = jitted_with_gradients(logits, np.ones(4, np.float32))
  assert_scores(values, logits)
  chex.assert_tree_all_finite((values, gradients))


def test_scores_grow_with_certainty():
  for name, value in jitted(np.float32([[gap, 0, 0] for gap in (4, 3, 2, 1)])).items():
    assert (np.diff(value) < 0).all(), name


def test_entropic_score_is_the_negative_entropy():
  score = jitted(np.float32([[0, 0, 0], [1, 1, -1000], [0, -1000, -1000], [5, 5, 5]]))[
    "entropic_score"
  ]
  np.testing.assert_allclose(score, [-np.log(3), -np.log(2), 0, -np.log(3)], rtol=1e-6)


def test_impossible_classes_do_not_count():
  with_impossible = jnp.tile(jnp.array([[1.0, -jnp.inf, 0.5]]), (4, 1))
  values, gradients = jitted_with_gradients(with_impossible, jnp.ones(4))
  expected = expected_scores(np.tile([[1.0, 0.5]], (4, 1)))
  for name in set(NAMES) - {"mmles"}:
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-6, err_msg=name)
    assert np.isfinite(gradients[name]).all(), name


def test_nan_is_not_taken_for_certainty():
  nan = np.nan
  logits = np.float32([[nan, 1, 0], [1, nan, 0], [0, 1, nan], [nan, nan, nan]])
  for name, value in jitted(logits).items():
    assert np.isnan(value).all(), name


@pytest.mark.parametrize("variant", MAPPED)
def test_variants(variant):
  logits, cotangent = draw(8, 5)
  function = VARIANTS[variant](scores_and_gradients, (True, True))
  values, gradients = function(logits, cotangent)
  assert_scores(values, logits)
  assert_gradients(gradients, logits, cotangent)


def test_forward_mode_reverse_mode_and_second_derivatives():
  logits, cotangent = draw(4, 5)
  tangent = draw(4, 6)[0][:, :5]

  @jax.jit
  def derivatives(logits, tangent):
    _, forward = jax.jvp(all_scores, (logits,), (tangent,))
    reverse, second = jax.jvp(
      lambda logits: scores_and_gradients(logits, cotangent)[1], (logits,), (tangent,)
    )
    return forward, reverse, second

  forward, reverse, second = derivatives(logits, tangent)
  for name in NAMES:
    value, gradient = getattr(oracles, name), getattr(oracles, f"{name}_gradient")
    expected = oracles.directional_derivative(value, (logits,), (tangent,))
    np.testing.assert_allclose(forward[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    pulled = np.vdot(reverse[name], tangent)
    np.testing.assert_allclose(pulled, np.vdot(forward[name], cotangent), rtol=1e-4)
    expected = oracles.directional_derivative(
      partial(lambda gradient, logits: gradient(logits, cotangent), gradient),
      (logits,),
      (tangent,),
    )
    np.testing.assert_allclose(second[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("temperature", [0.5, 1000.0])
def test_temperature_of_the_energy(temperature):
  logits, _ = draw(16, 10)
  energy = jax.jit(partial(scores.energy, temperature=temperature))(logits)
  expected = oracles.energy(logits, temperature=temperature)
  np.testing.assert_allclose(energy, expected, rtol=1e-5)


def test_low_precision_is_computed_in_float32():
  logits = jnp.asarray(draw(4, 3)[0], jnp.bfloat16)
  assert_scores(jitted(logits), logits)
  for dtype in (jnp.bfloat16, jnp.float16):
    values = jax.eval_shape(all_scores, logits.astype(dtype))
    assert {value.dtype for value in values.values()} == {jnp.dtype("float32")}


def test_float64_stays_float64():
  with jax.enable_x64(True):
    logits = np.float64(draw(8, 5)[0])
    values = jax.jit(all_scores)(logits)
    chex.assert_type(list(values.values()), jnp.float64)
    chex.assert_trees_all_close(values, expected_scores(logits), rtol=1e-12)


def test_leading_shapes():
  logits = np.float32(np.random.default_rng(0).normal(size=(2, 3, 4)))
  assert_scores(jitted(logits), logits)
  for batch in ((), (0,), (2, 0)):
    values = jax.eval_shape(all_scores, jnp.ones((*batch, 4)))
    chex.assert_shape(list(values.values()), batch)


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(all_scores, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float))


def test_strict_promotion_of_dtypes_is_enough():
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(all_scores, jnp.ones((2, 3), jnp.bfloat16))


def test_tripping_over_intermediate_nan_is_not_needed():
  with jax.debug_nans(True):
    jitted_with_gradients(np.float32([[0, -1000, -3]] * 4), np.ones(4, np.float32))


@hypothesis.settings(max_examples=50)
@hypothesis.given(
  hypothesis.extra.numpy.arrays(
    np.float32, (4, 3), elements=st.integers(-640, 640).map(lambda i: i / 8)
  ),
  st.permutations(range(3)),
)
def test_bounds_and_class_permutation(logits, order):
  values = jitted(logits)
  entropic_score = np.asarray(values["entropic_score"])
  assert (entropic_score <= 0).all()
  assert (entropic_score >= -np.log(3) * (1 + 1e-6)).all()
  maximum = np.asarray(values["maximum_probability"])
  assert ((maximum <= 1) & (maximum >= (1 - 1e-6) / 3)).all()
  permuted = jitted(logits[:, np.array(order)])
  chex.assert_trees_all_close(permuted, values, rtol=1e-5, atol=1e-6)
  shifted = jitted(logits + np.float32(16))
  for name in (*BOUNDED, "log_odds"):
    np.testing.assert_allclose(shifted[name], values[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_bad_logits(name):
  score = getattr(scores, name)
  with pytest.raises(TypeError, match=r"^logits must be floating, got dtype int32$"):
    score(jnp.ones((2, 3), int))
  message = "logits must have shape [..., classes] with a class or more, got "
  for shape in ((2, 0), ()):
    with pytest.raises(ValueError, match=f"^{re.escape(message + str(shape))}$"):
      score(jnp.ones(shape))


@pytest.mark.parametrize("temperature", [0, -1.0, np.inf, "1"])
def test_bad_temperature(temperature):
  message = f"temperature must be a positive, finite number, got {temperature!r}"
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    scores.energy(jnp.ones((2, 3)), temperature=temperature)
