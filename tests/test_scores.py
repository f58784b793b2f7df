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
  one_at_a_time = {
    name: pull_back({other: cotangent * (other == name) for other in NAMES})[0] for name in NAMES
  }
  return values, one_at_a_time


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
    assert (error <= 1e-4 * np.abs(right) + 2e-6 * largest + 1e-7).all(), name


@pytest.mark.parametrize(
  ("rows", "classes", "size"), [(1, 1, 1), (3, 2, 1), (16, 10, 1e-6), (16, 10, 5), (64, 1000, 3)]
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


@pytest.mark.parametrize("gap", [10.0, 20.0, 40.0, 80.0])
def test_confident_scores_and_gradients_keep_their_digits(gap):
  logits = np.float32([[0, -gap, -gap - 1], [-gap, 0, -gap - 3]])
  values, gradients = jitted_with_gradients(logits, np.ones(2, np.float32))
  expected = expected_scores(logits)
  for name in ("entropic_score", "log_odds"):
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-5)
  expected = expected_gradients(logits, np.ones(2))
  for name in ("entropic_score", "log_odds", "maximum_probability"):
    np.testing.assert_allclose(gradients[name], expected[name], rtol=1e-4, err_msg=name)


def test_log_odds_rank_what_saturates():
  logits = jnp.array([[20.0, 0.0], [40.0, 0.0], [80.0, 0.0]])
  values = jitted(logits)
  np.testing.assert_array_equal(values["maximum_probability"], 1)
  np.testing.assert_allclose(values["log_odds"], [20, 40, 80], rtol=1e-6)
  log_odds = -np.log(np.exp(-20.0) + np.exp(-21.0))
  log_odds_of_three = jitted(jnp.array([[0.0, -20.0, -21.0]]))["log_odds"]
  np.testing.assert_allclose(log_odds_of_three, [log_odds], rtol=1e-6)


def test_gaps_of_1000_and_logits_of_1e4():
  logits = np.float32([[0, -1000, -2000], [-1e4, -2e4, -1.5e4], [0, 0, 0], [-1e4, -1e4, -1e4]])
  values, gradients = jitted_with_gradients(logits, np.ones(4, np.float32))
  assert_scores(values, logits)
  chex.assert_tree_all_finite((values, gradients))


def test_scores_grow_with_certainty():
  for name, value in jitted(jnp.array([[5.0, 0.0, 0.0], [1.0, 0.0, 0.0]])).items():
    assert value[0] > value[1], name


def test_entropic_score_is_the_negative_entropy():
  uniform = jitted(jnp.zeros((1, 8)))["entropic_score"]
  np.testing.assert_allclose(uniform, [-np.log(8)], rtol=1e-6)


def test_impossible_classes_do_not_count():
  with_impossible = jnp.array([[1.0, -jnp.inf, 0.5]])
  values, gradients = jitted_with_gradients(with_impossible, jnp.ones(1))
  expected = expected_scores(np.array([[1.0, 0.5]]))
  for name in set(NAMES) - {"mmles"}:
    np.testing.assert_allclose(values[name], expected[name], rtol=1e-6, err_msg=name)
    assert np.isfinite(gradients[name]).all(), name


@pytest.mark.parametrize("logits", [[np.nan, 1.0], [1.0, np.nan], [np.nan, np.nan]])
def test_nan_is_not_taken_for_certainty(logits):
  for name, value in jitted(jnp.array(logits)).items():
    assert np.isnan(value), name


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


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_is_computed_in_float32(dtype):
  logits = jnp.asarray(draw(8, 5)[0], dtype)
  values = jitted(logits)
  chex.assert_type(list(values.values()), jnp.float32)
  assert_scores(values, logits)


def test_float64_stays_float64():
  with jax.enable_x64(True):
    logits = np.float64(draw(8, 5)[0])
    values = jax.jit(all_scores)(logits)
    chex.assert_type(list(values.values()), jnp.float64)
    chex.assert_trees_all_close(values, expected_scores(logits), rtol=1e-12)


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
def test_leading_shapes(batch):
  logits = np.float32(np.random.default_rng(0).normal(size=(*batch, 4)))
  values = jitted(logits)
  chex.assert_shape(list(values.values()), batch)
  if batch != (0,):
    assert_scores(values, logits)


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(all_scores, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float))


def test_strict_promotion_of_dtypes_is_enough():
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(all_scores, jnp.ones((2, 3), jnp.bfloat16))


def test_tripping_over_intermediate_nan_is_not_needed():
  with jax.debug_nans(True):
    jitted_with_gradients(jnp.array([[0.0, -1000.0, -3.0], [0.0, 0.0, 0.0]]), jnp.ones(2))


@hypothesis.settings(max_examples=50, deadline=None, derandomize=True)
@hypothesis.given(
  hypothesis.extra.numpy.arrays(
    np.float32, (3, 6), elements=st.integers(-640, 640).map(lambda i: i / 8)
  ),
  st.permutations(range(6)),
)
def test_bounds_and_class_permutation(logits, order):
  values = jitted(logits)
  entropic_score = np.asarray(values["entropic_score"])
  assert (entropic_score <= 0).all()
  assert (entropic_score >= -np.log(6) * (1 + 1e-6)).all()
  maximum = np.asarray(values["maximum_probability"])
  assert ((maximum <= 1) & (maximum >= (1 - 1e-6) / 6)).all()
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
