"""The scaled cross-entropy, its tails included, against the formula in float64."""

import re
from functools import partial

import chex
import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isomax_jax.losses import scaled_cross_entropy
from tests import oracles
from tests.variants import MAPPED, VARIANTS

jitted = jax.jit(scaled_cross_entropy)


@jax.jit
def loss_and_gradient(logits, labels, cotangent, entropic_scale=10.0):
  loss, pull_back = jax.vjp(
    lambda logits: scaled_cross_entropy(logits, labels, entropic_scale=entropic_scale), logits
  )
  return loss, *pull_back(cotangent)


def draw(rows, classes, *, size=0.1):
  generator = np.random.default_rng(rows * classes)
  logits = np.float32(size * generator.normal(size=(rows, classes)))
  labels = generator.integers(0, classes, rows)
  return logits, np.int32(labels), np.float32(generator.normal(size=rows))


@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (3, 2), (64, 1000)])
@pytest.mark.parametrize("entropic_scale", [1.0, 10.0])
def test_values_and_gradients(rows, classes, entropic_scale):
  logits, labels, cotangent = draw(rows, classes)
  loss, gradient = loss_and_gradient(logits, labels, cotangent, entropic_scale)
  options = {"entropic_scale": entropic_scale}
  expected = oracles.scaled_cross_entropy(logits, labels, **options)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  expected = oracles.scaled_cross_entropy_gradient(logits, labels, cotangent, **options)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4)


@pytest.mark.parametrize("gap", [1.0, 5.0, 8.0])
def test_tiny_losses_keep_their_digits(gap):
  # The sum of two products of 3 significant bits is exact: no rounding but the function's own.
  logits, labels = np.float32([[0, -gap, -gap - 0.5]]), np.int32([0])
  loss, gradient = loss_and_gradient(logits, labels, np.ones(1, np.float32))
  options = {"entropic_scale": 10.0}
  expected = oracles.scaled_cross_entropy(logits, labels, **options)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  expected = oracles.scaled_cross_entropy_gradient(logits, labels, np.ones(1), **options)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1e4])
@pytest.mark.parametrize("label", [0, 1])
def test_huge_and_tiny_logits_are_finite(size, label):
  logits = np.float32([[-1, -2, -1.5]]) * np.float32(size)
  loss, gradient = loss_and_gradient(logits, np.int32([label]), np.ones(1, np.float32))
  chex.assert_tree_all_finite((loss, gradient))
  expected = oracles.scaled_cross_entropy(logits, [label], entropic_scale=10.0)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("second_order", [jax.jacfwd, jax.jacrev])
def test_all_derivatives_are_finite_at_a_scaled_gap_of_1000(second_order):
  gradient = jax.grad(scaled_cross_entropy)
  derivatives = jax.jit(lambda *a: (gradient(*a), second_order(gradient)(*a)))
  for label, expected in ((0, [0, 0, 0]), (1, [10, -10, 0])):
    first, second = derivatives(np.float32([0, -100, -50]), np.int32(label))
    np.testing.assert_allclose(first, expected, atol=1e-6)
    np.testing.assert_array_equal(second, np.zeros((3, 3)))


def authors_form(logits, labels, entropic_scale):
  """Take the softmax, then its logarithm, one after the other."""
  probabilities = jax.nn.softmax(entropic_scale * logits, axis=-1)
  return -jnp.log(jnp.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0])


def test_equals_the_authors_form_where_theirs_is_finite():
  logits, labels, _ = draw(64, 10, size=0.5)
  theirs = jax.jit(jax.value_and_grad(lambda x: authors_form(x, labels, 10.0).mean()))(logits)
  ours = jax.jit(jax.value_and_grad(lambda x: scaled_cross_entropy(x, labels).mean()))(logits)
  chex.assert_trees_all_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_is_finite_where_the_authors_form_is_not():
  logits, labels = jnp.array([[0.0, -11.0]]), jnp.array([1])
  theirs = jax.value_and_grad(lambda x: authors_form(x, labels, 10.0).sum())(logits)
  assert np.isinf(theirs[0])
  assert np.isnan(theirs[1]).any()
  loss, gradient = loss_and_gradient(logits, labels, jnp.ones(1))
  np.testing.assert_allclose(loss, [110], rtol=1e-6)
  np.testing.assert_allclose(gradient, [[10, -10]], rtol=1e-6)


def test_equals_optax():
  logits, labels, _ = draw(16, 10, size=1.0)
  expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  np.testing.assert_allclose(jitted(logits, labels, entropic_scale=1.0), expected, rtol=1e-5)


@pytest.mark.parametrize("variant", MAPPED)
def test_variants(variant):
  logits, labels, cotangent = draw(8, 5)
  function = VARIANTS[variant](
    lambda *arguments: loss_and_gradient.__wrapped__(*arguments), (True, True, True)
  )
  loss, gradient = function(logits, labels, cotangent)
  options = {"entropic_scale": 10.0}
  expected = oracles.scaled_cross_entropy(logits, labels, **options)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  expected = oracles.scaled_cross_entropy_gradient(logits, labels, cotangent, **options)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def test_forward_mode_reverse_mode_and_second_derivatives():
  logits, labels, cotangent = draw(4, 5)
  tangent = draw(4, 5, size=1.0)[0]

  @jax.jit
  def derivatives(logits, tangent):
    _, forward = jax.jvp(lambda x: scaled_cross_entropy(x, labels), (logits,), (tangent,))
    reverse, forward_over_reverse = jax.jvp(
      lambda x: loss_and_gradient(x, labels, cotangent)[1], (logits,), (tangent,)
    )
    reverse_over_reverse = jax.grad(
      lambda x: jnp.vdot(loss_and_gradient(x, labels, cotangent)[1], tangent)
    )(logits)
    return forward, reverse, forward_over_reverse, reverse_over_reverse

  forward, reverse, *second = derivatives(logits, tangent)
  value = partial(oracles.scaled_cross_entropy, labels=labels, entropic_scale=10.0)
  expected = oracles.directional_derivative(value, (logits,), (tangent,))
  np.testing.assert_allclose(forward, expected, rtol=1e-4)
  np.testing.assert_allclose(np.vdot(reverse, tangent), np.vdot(forward, cotangent), rtol=1e-4)
  expected = oracles.directional_derivative(
    lambda x: oracles.scaled_cross_entropy_gradient(x, labels, cotangent, entropic_scale=10.0),
    (logits,),
    (tangent,),
  )
  for actual in second:
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_gradient_of_the_scale():
  logits, labels, _ = draw(8, 5)
  gradient = jax.jit(jax.grad(lambda s: jitted(logits, labels, entropic_scale=s).sum()))(3.0)
  expected = oracles.directional_derivative(
    lambda s: oracles.scaled_cross_entropy(logits, labels, entropic_scale=s).sum(), (3.0,), (1.0,)
  )
  np.testing.assert_allclose(gradient, expected, rtol=1e-4)


def test_a_scale_from_outside_a_compiled_program_is_checked_there():
  logits, labels, _ = draw(8, 5)

  def compiled(scale):
    return jax.jit(lambda x: scaled_cross_entropy(x, labels, entropic_scale=scale))(logits)

  expected = jitted(logits, labels, entropic_scale=3.0)
  np.testing.assert_allclose(compiled(jnp.float32(3)), expected, rtol=1e-6)
  with pytest.raises(ValueError, match="entropic_scale must be a positive"):
    compiled(jnp.float32(-3))


@pytest.mark.parametrize("label", [-1, -300, 3, 4, 2**31 - 1, -(2**31)])
def test_labels_out_of_range_give_nan_alone(label):
  logits = jnp.array([[0.0, -1.0, -2.0], [0.0, -1.0, -2.0]])
  loss, gradient = loss_and_gradient(logits, jnp.array([label, 1]), jnp.ones(2))
  np.testing.assert_array_equal(np.isnan(loss), [True, False])
  np.testing.assert_array_equal(np.isnan(gradient).all(-1), [True, False])
  assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_every_integer_dtype_indexes_300_classes(dtype):
  logits = np.float32(np.random.default_rng(0).normal(size=(2, 300)))
  labels = np.array([3, 127], dtype)
  expected = oracles.scaled_cross_entropy(logits, labels, entropic_scale=10.0)
  np.testing.assert_allclose(jitted(logits, labels), expected, rtol=1e-5)


def test_unsigned_labels_above_the_signed_range_give_nan():
  assert np.isnan(jitted(jnp.zeros((1, 300)), np.array([2**32 - 1], np.uint32))).all()
  with jax.enable_x64(True):
    labels = np.array([2**32 + 1, 2**63 + 1, 1], np.uint64)
    loss = jax.jit(scaled_cross_entropy)(jnp.zeros((3, 300)), labels)
    np.testing.assert_array_equal(np.isnan(loss), [True, True, False])


def test_infinite_logits_of_other_classes_have_no_mass():
  for logits in ([1.0, -np.inf, 0.0], [1.0, -np.inf]):
    loss, gradient = loss_and_gradient(jnp.array(logits), jnp.int32(0), jnp.float32(1))
    finite = np.array(logits)[np.isfinite(logits)][None]
    expected = oracles.scaled_cross_entropy(finite, [0], entropic_scale=10.0)[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert np.isfinite(gradient).all()
    assert gradient[1] == 0
  loss, gradient = loss_and_gradient(jnp.array([-np.inf, 0.0]), jnp.int32(0), jnp.float32(1))
  assert loss == np.inf
  assert not np.isnan(gradient).any()


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("gap", [1e-6, 1e-3, 1.0])  # as a fraction of the size, or absolute
def test_rounding_stays_within_units_of_the_logits(size, gap):
  generator = np.random.default_rng(0)
  for spread in (gap * size, gap):
    logits = np.float32(-size - spread * generator.uniform(size=(64, 10)))
    labels = generator.integers(0, 10, 64)
    values = loss_and_gradient(logits, labels, np.ones(64, np.float32))
    loss = oracles.scaled_cross_entropy(logits, labels, entropic_scale=10.0)
    gradient = oracles.scaled_cross_entropy_gradient(
      logits, labels, np.ones(64), entropic_scale=10.0
    )
    unit = 2e-7 * 10 * np.abs(logits).max()
    np.testing.assert_allclose(values[0], loss, rtol=1e-6, atol=unit)
    np.testing.assert_allclose(values[1], gradient, rtol=1e-6 + unit, atol=1e-30)


def test_nan_logits_give_nan():
  loss, _ = loss_and_gradient(jnp.array([[np.nan, 0.0, 1.0]]), jnp.array([1]), jnp.ones(1))
  assert np.isnan(loss).all()


def test_low_precision_is_computed_in_float32():
  logits, labels, cotangent = draw(8, 5)
  logits = jnp.asarray(logits, jnp.bfloat16)
  loss, _ = loss_and_gradient(logits, labels, cotangent)
  expected = oracles.scaled_cross_entropy(logits, labels, entropic_scale=10.0)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
    results = jax.eval_shape(loss_and_gradient, logits.astype(dtype), labels, cotangent)
    assert [result.dtype for result in results] == [jnp.float32, dtype]


def test_float64_stays_float64():
  with jax.enable_x64(True):
    logits, labels, _ = draw(8, 5)
    loss = jax.jit(scaled_cross_entropy)(np.float64(logits), labels)
    assert loss.dtype == jnp.float64
    expected = oracles.scaled_cross_entropy(logits, labels, entropic_scale=10.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-13)


@pytest.mark.parametrize("batch", [(2, 3), (0,)])
def test_leading_shapes(batch):
  generator = np.random.default_rng(0)
  logits, labels = generator.normal(size=(*batch, 4)), generator.integers(0, 4, batch)
  loss = jitted(np.float32(logits), np.int32(labels))
  chex.assert_shape(loss, batch)
  expected = oracles.scaled_cross_entropy(np.float32(logits), labels, entropic_scale=10.0)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_same_shapes_are_traced_once():
  compiled = jax.jit(chex.assert_max_traces(scaled_cross_entropy, n=1))
  for seed in range(2):
    compiled(jnp.full((4, 2), seed, float), jnp.array([0, 1, 1, seed]))


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8])
def test_strict_promotion_of_dtypes_is_enough(dtype):
  logits, labels, _ = draw(8, 5)
  with jax.numpy_dtype_promotion("strict"):
    jax.eval_shape(scaled_cross_entropy, jnp.asarray(logits, jnp.bfloat16), labels.astype(dtype))


def test_tripping_over_intermediate_nan_is_not_needed():
  logits, labels, cotangent = draw(8, 5)
  with jax.debug_nans(True):
    loss_and_gradient(logits, labels, cotangent)


@hypothesis.settings(max_examples=40)
@hypothesis.given(
  hypothesis.extra.numpy.arrays(
    np.float32, (2, 5), elements=st.integers(-64, 64).map(lambda i: i / 8)
  ),
  st.permutations(range(5)),
  st.integers(-8, 8),
)
def test_shift_and_class_permutation(logits, order, shift):
  labels, order = np.int32([0, 3]), np.array(order)
  loss = jitted(logits, labels)
  assert (loss >= 0).all()
  np.testing.assert_allclose(jitted(logits + np.float32(shift), labels), loss, rtol=1e-5, atol=1e-5)
  permuted = jitted(logits[:, order], np.int32(np.argsort(order))[labels])
  np.testing.assert_allclose(permuted, loss, rtol=1e-5)


LOGITS, LABELS = jnp.ones((2, 3)), jnp.zeros(2, int)
SCALE = "entropic_scale must be a positive, finite number, got "


@pytest.mark.parametrize(
  ("arguments", "options", "error", "message"),
  [
    ((jnp.ones((2, 3), int), LABELS), {}, TypeError, "logits must be floating, got dtype int32"),
    ((LOGITS, jnp.ones(2)), {}, TypeError, "labels must be integers, got dtype float32"),
    ((LOGITS, jnp.ones(2, bool)), {}, TypeError, "labels must be integers, got dtype bool"),
    ((LOGITS, LABELS[:1]), {}, ValueError, "labels must have shape (2,), got (1,)"),
    ((LOGITS, LABELS[:, None]), {}, ValueError, "labels must have shape (2,), got (2, 1)"),
    (
      (jnp.ones((2, 0)), LABELS),
      {},
      ValueError,
      "logits must have shape [..., classes] with a class or more, got (2, 0)",
    ),
    (
      (jnp.float32(1), jnp.int32(0)),
      {},
      ValueError,
      "logits must have shape [..., classes] with a class or more, got ()",
    ),
    ((LOGITS, LABELS), {"entropic_scale": 0}, ValueError, SCALE + "0"),
    ((LOGITS, LABELS), {"entropic_scale": -1.5}, ValueError, SCALE + "-1.5"),
    ((LOGITS, LABELS), {"entropic_scale": np.inf}, ValueError, SCALE + "inf"),
    ((LOGITS, LABELS), {"entropic_scale": np.nan}, ValueError, SCALE + "nan"),
    ((LOGITS, LABELS), {"entropic_scale": "10"}, ValueError, SCALE + "'10'"),
    ((LOGITS, LABELS), {"entropic_scale": None}, ValueError, SCALE + "None"),
    ((LOGITS, LABELS), {"entropic_scale": np.ones(2)}, ValueError, SCALE + "array([1., 1.])"),
  ],
)
def test_bad_arguments(arguments, options, error, message):
  with pytest.raises(error, match=f"^{re.escape(message)}$"):
    scaled_cross_entropy(*arguments, **options)


def test_traced_scale_must_be_a_scalar():
  with pytest.raises(ValueError, match=f"^{re.escape(SCALE)}"):
    jitted(LOGITS, LABELS, entropic_scale=jnp.ones((2, 1)))


def test_dtypes_are_promoted_by_nobody_else():
  with jax.numpy_dtype_promotion("strict"):
    gradient = jax.grad(lambda logits: scaled_cross_entropy(logits, jnp.arange(3)).sum())
    assert np.isfinite(gradient(jnp.ones((3, 4)))).all()
