"""Distances: what the docstring guarantees, against direct differences in float64."""

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
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from isomax_jax.losses import pairwise_distance
from tests import oracles
from tests.distances import (
  CLASSES,
  DISTANCES,
  ROWS,
  as_float32,
  assert_guaranteed,
  collapsed,
  hard_cases,
  spread,
  unit,
)
from tests.programs import dot_precisions
from tests.slow import slow
from tests.variants import MAPPED, VARIANTS

WIDTHS = (1, 2, 8, 64, 512, 2048)

jitted = jax.jit(pairwise_distance)


@pytest.fixture(scope="module", params=DISTANCES)
def distance(request):
  return DISTANCES[request.param]


@pytest.fixture(scope="module")
def compiled(distance):
  return jax.jit(distance)


def value_and_gradients(distance, features, prototypes, cotangent):
  distances, pull_back = jax.vjp(distance, features, prototypes)
  return distances, *pull_back(cotangent)


@pytest.mark.parametrize("width", WIDTHS)
def test_guarantee_in_hard_cases(compiled, width):
  for name, features, prototypes in as_float32(hard_cases(width)):
    try:
      assert_guaranteed(compiled(features, prototypes), features, prototypes)
    except AssertionError as error:
      raise AssertionError(f"{name}: {error}") from None


# Where a compiler may fuse the mean's scale into its uses, these miss the bound 50 to 17,000 times.
@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(64, 200, 500), (64, 21_841, 64), (8, 12, 3000)])
def test_guarantee_for_prototypes_that_have_collapsed(compiled, sizes):
  features, prototypes = collapsed(*sizes)
  assert_guaranteed(compiled(features, prototypes), features, prototypes)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [1e-5, 1e-4, 1e-3])
def test_guarantee_among_three_prototypes_whatever_a_product_makes_of_them(distance, gap):
  """Here the rounding shows that some rows in a thousand have, where it tells them apart."""
  generator = np.random.default_rng(0)
  prototypes = generator.normal(size=(100, 512))
  prototypes[1:3] = prototypes[0] + gap * generator.normal(size=(2, 512))
  features = prototypes[0] + 1e-3 * generator.normal(size=(8192, 512))
  features, prototypes = np.float32(features), np.float32(prototypes)
  distances = jax.jit(distance)(features, prototypes)
  assert_guaranteed(distances[:, :3], features, prototypes[:3])
  assert (distances[:, 3:] > 10).all()


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_guarantee_in_every_variant(distance, variant):
  cases = as_float32(hard_cases(8))
  function = VARIANTS[variant](distance, (True, False))
  for _, features, prototypes in cases:
    assert_guaranteed(function(features, prototypes), features, prototypes)


@pytest.mark.parametrize("axes", [(None, "classes"), ("data", "classes")])
def test_guarantee_and_gradients_under_sharded_compilation(distance, axes):
  mesh = jax.make_mesh((2, 2), ("data", "classes"), axis_types=(AxisType.Auto,) * 2)
  rows, classes = (PartitionSpec(axis) for axis in axes)
  both = PartitionSpec(*axes)
  function = jax.jit(
    partial(value_and_gradients, distance),
    in_shardings=tuple(NamedSharding(mesh, spec) for spec in (rows, classes, both)),
    out_shardings=tuple(NamedSharding(mesh, spec) for spec in (both, rows, classes)),
  )
  cotangent = np.random.default_rng(0).normal(size=(ROWS, CLASSES)).astype(np.float32)
  for _, features, prototypes in as_float32(hard_cases(8)):
    distances, *_ = function(features, prototypes, cotangent)
    assert_guaranteed(distances, features, prototypes)
  _, features, prototypes = as_float32(hard_cases(8))[0]
  distances, *gradients = function(features, prototypes, cotangent)
  assert distances.sharding.is_equivalent_to(NamedSharding(mesh, both), 2)
  expected = oracles.distances_gradient(features, prototypes, cotangent)
  chex.assert_trees_all_close(tuple(gradients), expected, rtol=1e-4, atol=1e-5)


def test_guarantee_under_shard_map_that_checks_replication(distance):
  mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
  function = jax.jit(
    jax.shard_map(
      distance,
      mesh=mesh,
      in_specs=(PartitionSpec("data"), PartitionSpec()),
      out_specs=PartitionSpec("data"),
      check_vma=True,
    )
  )
  for _, features, prototypes in as_float32(hard_cases(8)):
    assert_guaranteed(function(features, prototypes), features, prototypes)


def test_prototypes_can_be_mapped(distance):
  generator = np.random.default_rng(0)
  prototypes = np.float32(generator.normal(size=(3, 5, 8)))
  features = np.float32(prototypes[:, :4] + 1e-3 * unit(generator, 3, 4, 8))
  distances = jax.jit(jax.vmap(distance))(features, prototypes)
  for i in range(3):
    assert_guaranteed(distances[i], features[i], prototypes[i])


def test_distance_is_exactly_zero_on_a_prototype_and_its_duplicates(compiled):
  prototypes = np.float32(np.random.default_rng(0).normal(size=(6, 64)) + 3)[np.arange(18) // 3]
  distances = np.asarray(compiled(prototypes[::3], prototypes))
  same = np.arange(6)[:, None] == np.arange(18) // 3
  assert (distances[same] == 0).all()
  assert (distances[~same] > 1).all()


@pytest.mark.parametrize(
  ("rows", "width", "classes"),
  [(1, 1, 1), (2, 1, 3), (3, 7, 2), (16, 64, 10), (64, 512, 1000)],
)
def test_values_and_gradients(distance, rows, width, classes):
  generator = np.random.default_rng(rows * width * classes)
  features, prototypes, cotangent = (
    np.float32(generator.normal(size=shape))
    for shape in ((rows, width), (classes, width), (rows, classes))
  )
  function = jax.jit(partial(value_and_gradients, distance))
  distances, *gradients = function(features, prototypes, cotangent)
  np.testing.assert_allclose(distances, oracles.distances(features, prototypes), rtol=1e-5)
  expected = oracles.distances_gradient(features, prototypes, cotangent)
  for gradient, right in zip(gradients, expected, strict=True):
    # A component is a sum over classes or rows that may cancel; the terms set the scale.
    np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


@pytest.mark.slow
@pytest.mark.parametrize("width", [1, 8, 512])
def test_numerator_of_the_gradient_keeps_its_digits_near_a_prototype(distance, width):
  @jax.jit
  def jacobian(features, prototypes):
    one_hot = jnp.eye(CLASSES)[:, None, :] * jnp.ones((1, ROWS, 1))
    distances, pull_back = jax.vjp(distance, features, prototypes)
    return distances, jax.vmap(pull_back)(one_hot)[0]

  for name, features, prototypes in as_float32(hard_cases(width)):
    distances, gradient = jacobian(features, prototypes)
    numerator = np.float64(gradient) * np.float64(distances).T[:, :, None]
    exact = np.float64(features)[None] - np.float64(prototypes)[:, None]
    error = np.linalg.norm(numerator - exact, axis=-1).T
    nonzero = np.asarray(distances) > 0
    of_features, of_prototypes = spread(features, prototypes)
    allowed = 1e-6 * (of_features + of_prototypes) + 1e-6 * np.linalg.norm(exact, axis=-1).T
    assert (error <= allowed)[nonzero].all(), name
    assert np.isfinite(gradient).all(), name
    assert (np.moveaxis(np.asarray(gradient), 1, 0)[~nonzero] == 0).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("variant", MAPPED)
def test_gradients_in_every_variant(distance, variant):
  generator = np.random.default_rng(0)
  features, prototypes, cotangent = (
    np.float32(generator.normal(size=shape)) for shape in ((8, 5), (3, 5), (8, 3))
  )

  def of_features(features, cotangent, prototypes):
    distances, gradient, _ = value_and_gradients(distance, features, prototypes, cotangent)
    return distances, gradient

  function = VARIANTS[variant](of_features, (True, True, False))
  distances, gradient = function(features, cotangent, prototypes)
  np.testing.assert_allclose(distances, oracles.distances(features, prototypes), rtol=1e-5)
  expected, _ = oracles.distances_gradient(features, prototypes, cotangent)
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_forward_mode_reverse_mode_and_second_derivatives(distance):
  generator = np.random.default_rng(0)
  features, f_dot = np.float32(generator.normal(size=(2, 4, 6)))
  prototypes, p_dot = np.float32(generator.normal(size=(2, 3, 6)))
  cotangent = np.float32(generator.normal(size=(4, 3)))

  @jax.jit
  def derivatives(features, prototypes, f_dot, p_dot, cotangent):
    primals, tangents = (features, prototypes), (f_dot, p_dot)
    _, forward = jax.jvp(distance, primals, tangents)

    def gradient(*primals):
      return jax.vjp(distance, *primals)[1](cotangent)

    def along(*primals):
      return sum(jnp.vdot(g, v) for g, v in zip(gradient(*primals), tangents, strict=True))

    reverse, forward_over_reverse = jax.jvp(gradient, primals, tangents)
    reverse_over_reverse = jax.grad(along, (0, 1))(*primals)
    return forward, reverse, forward_over_reverse, reverse_over_reverse

  forward, reverse, *second = derivatives(features, prototypes, f_dot, p_dot, cotangent)
  points, directions = (features, prototypes), (f_dot, p_dot)
  expected = oracles.directional_derivative(oracles.distances, points, directions)
  np.testing.assert_allclose(forward, expected, rtol=1e-4, atol=1e-5)
  pulled = sum(np.vdot(g, v) for g, v in zip(reverse, directions, strict=True))
  np.testing.assert_allclose(pulled, np.vdot(cotangent, forward), rtol=1e-4)
  for i, hessian_vector in enumerate(zip(*second, strict=True)):
    expected = oracles.directional_derivative(
      lambda f, p, i=i: oracles.distances_gradient(f, p, cotangent)[i], points, directions
    )
    for actual in hessian_vector:
      np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_derivatives_on_a_prototype_are_zero_and_finite(distance):
  prototypes = np.float32([[1, 2], [1, 2], [0, 0]])

  @jax.jit
  def derivatives(feature):
    first = jax.jacrev(lambda f: distance(f, prototypes))
    return first(feature), jax.jacfwd(first)(feature), jax.jacrev(first)(feature)

  for derivative in derivatives(prototypes[0]):
    assert np.isfinite(derivative).all()
    np.testing.assert_array_equal(derivative[:2], np.zeros_like(derivative[:2]))
  zeros = np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)
  function = jax.jit(partial(value_and_gradients, distance))
  gradients = function(*zeros, np.ones((2, 4), np.float32))
  chex.assert_trees_all_equal(gradients[1:], zeros)


def test_low_precision_is_computed_in_float32(distance, compiled):
  generator = np.random.default_rng(0)
  features, prototypes = (
    jnp.asarray(generator.normal(size=(size, 16)), jnp.bfloat16) for size in (4, 5)
  )
  expected = oracles.distances(features, prototypes)
  np.testing.assert_allclose(compiled(features, prototypes), expected, rtol=1e-5)
  for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
    features, prototypes = features.astype(dtype), prototypes.astype(dtype)
    function = partial(value_and_gradients, distance)
    results = jax.eval_shape(function, features, prototypes, jnp.ones((4, 5)))
    assert [result.dtype for result in results] == [jnp.float32, dtype, dtype]


def test_float64_stays_float64(compiled):
  with jax.enable_x64(True):
    generator = np.random.default_rng(0)
    features, prototypes = generator.normal(size=(4, 16)), generator.normal(size=(5, 16))
    distances = compiled(features, np.float32(prototypes))
    assert distances.dtype == jnp.float64
    np.testing.assert_allclose(
      distances, oracles.distances(features, np.float32(prototypes)), rtol=1e-13
    )


@pytest.mark.parametrize("batch", [(), (2, 3), (0,), (2, 0, 3)])
def test_leading_shapes(compiled, batch):
  generator = np.random.default_rng(0)
  features = np.float32(generator.normal(size=(*batch, 4)))
  prototypes = np.float32(generator.normal(size=(5, 4)))
  distances = compiled(features, prototypes)
  chex.assert_shape(distances, (*batch, 5))
  np.testing.assert_allclose(distances, oracles.distances(features, prototypes), rtol=1e-5)


def test_vectors_without_components_are_at_distance_zero(compiled):
  np.testing.assert_array_equal(compiled(jnp.ones((3, 0)), jnp.ones((2, 0))), 0)


def test_same_shapes_are_traced_once():
  function = jax.jit(chex.assert_max_traces(pairwise_distance, n=1))
  for seed in range(2):
    generator = np.random.default_rng(seed)
    function(*(np.float32(generator.normal(size=shape)) for shape in ((4, 2), (3, 2))))


def test_a_second_call_outside_jit_compiles_nothing(caplog):
  features, prototypes = np.ones((4, 2), np.float32), np.zeros((3, 2), np.float32)
  with jax.log_compiles():
    pairwise_distance(2 * features, prototypes)
    assert "Compiling" in caplog.text
    caplog.clear()
    pairwise_distance(features, prototypes)
    assert "Compiling" not in caplog.text


@pytest.mark.parametrize("default", ["bfloat16", "highest", None])
def test_products_run_at_the_highest_precision(distance, default):
  first = partial(value_and_gradients, distance)

  def second(features, prototypes, cotangent):
    def gradient(features, prototypes):
      return first(features, prototypes, cotangent)[1:]

    return jax.vjp(gradient, features, prototypes)[1]((features, prototypes))

  shapes = jnp.ones((4, 3)), jnp.ones((2, 3)), jnp.ones((4, 2))
  with jax.default_matmul_precision(default):
    # A product for each gradient, and one forward in one of the forms; second derivatives
    # differentiate all of them.
    products = 2 if distance is DISTANCES["direct"] else 3
    for function, least in ((first, products), (second, products + 2)):
      precisions = dot_precisions(jax.make_jaxpr(function)(*shapes))
      assert len(precisions) >= least
      assert set(precisions) == {(jax.lax.Precision.HIGHEST,) * 2}


def test_nan_and_infinity_are_not_hidden(compiled):
  features = jnp.array([[jnp.nan, 0.0], [jnp.inf, 0.0], [1.0, 0.0]])
  distances = np.asarray(compiled(features, jnp.array([[1.0, 0.0], [0.0, 0.0]])))
  assert np.isnan(distances[0]).all()
  assert not np.isfinite(distances[1]).any()
  np.testing.assert_array_equal(distances[2], [0, 1])


@pytest.mark.parametrize("classes", [1000, 9000])
def test_what_cancels_is_settled_beside_a_nan(compiled, classes):
  # One prototype overflows in its product with the features, and not in the mean; another is so
  # close to them that a product leaves none of its digits. A minimum on CPUs is NaN or, over many
  # classes, forgets what came before the NaN.
  prototypes = np.zeros((classes, 8), np.float32)
  prototypes[[0, 32], 0] = 6e18, 2e21
  features = prototypes[:1] * np.float32(1.001)
  distances = np.asarray(compiled(features, prototypes))
  assert not distances[0, 32] < np.inf
  np.testing.assert_allclose(distances[0, 0], oracles.distances(features, prototypes)[0, 0], 1e-5)


@pytest.mark.parametrize("moving", ["features", "prototypes"])
@pytest.mark.parametrize("mode", ["jvp", "linearize", "jacfwd"])
@pytest.mark.parametrize("sizes", [(128, 100, 64), slow((16, 2000, 64))])
def test_forward_mode_over_one_argument(distance, sizes, mode, moving):
  # At these sizes XLA on CPUs takes a product with a tangent of zeros from unwritten memory.
  rows, classes, width = sizes
  generator = np.random.default_rng(0)
  vectors = {
    "features": np.float32(generator.normal(size=(rows, width))),
    "prototypes": np.float32(generator.normal(size=(classes, width))),
  }
  start = vectors.pop(moving)
  tangent = np.float32(generator.normal(size=start.shape))

  @jax.jit
  def derivative(start, tangent):
    def moved(start):
      return distance(**vectors, **{moving: start})

    if mode == "jvp":
      return jax.jvp(moved, (start,), (tangent,))[1]
    if mode == "linearize":
      return jax.linearize(moved, start)[1](tangent)
    return jax.jacfwd(lambda step: moved(start + step * tangent))(0.0)

  def exact(start):
    return oracles.distances(**vectors, **{moving: start})

  expected = oracles.directional_derivative(exact, (start,), (tangent,))
  np.testing.assert_allclose(derivative(start, tangent), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("moving", ["features", "prototypes"])
def test_forward_mode_along_many_tangents(distance, moving):
  # At these sizes XLA on CPUs misreads vectors that multiply tangents with an axis more in a sum.
  many, rows, classes, width = 512, 16, 100, 16
  generator = np.random.default_rng(0)
  features, prototypes = (np.float32(generator.normal(size=(n, width))) for n in (rows, classes))
  vectors = {"features": features, "prototypes": prototypes}
  start = vectors.pop(moving)
  tangents = np.float32(generator.normal(size=(many, *start.shape)))

  @jax.jit
  def derivatives(start, tangents):
    def along(tangent):
      return jax.jvp(lambda start: distance(**vectors, **{moving: start}), (start,), (tangent,))[1]

    return jax.vmap(along)(tangents)

  difference = np.float64(features)[:, None] - np.float64(prototypes)
  gradient = difference / oracles.distances(features, prototypes)[..., None]
  if moving == "features":
    expected = np.einsum("bcd,tbd->tbc", gradient, np.float64(tangents))
  else:
    expected = -np.einsum("bcd,tcd->tbc", gradient, np.float64(tangents))
  np.testing.assert_allclose(derivatives(start, tangents), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2048])
def test_range_that_is_stated(distance, width):
  generator = np.random.default_rng(width)
  function = jax.jit(partial(value_and_gradients, distance))
  for scale in (1e18, 1e-14):
    features, prototypes = (
      np.float32(scale * unit(generator, rows, width)) for rows in (ROWS, CLASSES)
    )
    prototypes = np.sign(prototypes[:, :1]) * prototypes  # on one side, the features on both
    cotangent = np.float32(generator.normal(size=(ROWS, CLASSES)))
    distances, *gradients = function(-np.abs(features), prototypes, cotangent)
    assert_guaranteed(distances, -np.abs(features), prototypes)
    expected = oracles.distances_gradient(-np.abs(features), prototypes, cotangent)
    chex.assert_trees_all_close(tuple(gradients), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e20, 1e30, 3e38])
def test_what_overflows_is_not_finite_and_has_no_finite_gradient(distance, scale):
  features = np.float32(scale * np.array([[1, 0.5], [0, 1]]))
  prototypes = np.float32([[1, 2], [-1, 0], [0, 3]])
  function = jax.jit(partial(value_and_gradients, distance))
  distances, *gradients = function(features, prototypes, np.ones((2, 3), np.float32))
  assert not np.isfinite(distances).any()
  for gradient in gradients:
    assert np.isnan(gradient).all()


grid = st.integers(-256, 256).map(lambda i: i / 32)
COMPILED = [jax.jit(distance) for distance in DISTANCES.values()]
vectors = partial(hypothesis.extra.numpy.arrays, np.float32, elements=grid)


@hypothesis.settings(max_examples=40)
@hypothesis.given(vectors((3, 4)), vectors((5, 4)), vectors((4,)), st.permutations(range(5)))
def test_translation_and_class_permutation(features, prototypes, shift, order):
  features, prototypes = np.asarray(features), np.asarray(prototypes)
  for distance in COMPILED:
    shifted = distance(features + 64 * shift, prototypes + 64 * shift)
    assert_guaranteed(shifted, features, prototypes)
    permuted = distance(features, prototypes[np.array(order)])
    assert_guaranteed(permuted, features, prototypes[np.array(order)])
    assert_guaranteed(distance(features, prototypes), features, prototypes)


@pytest.mark.parametrize(
  ("features", "prototypes", "error", "message"),
  [
    (
      jnp.ones((2, 3), int),
      jnp.ones((4, 3)),
      TypeError,
      "features must be floating, got dtype int32",
    ),
    (
      jnp.ones((2, 3)),
      jnp.ones((4, 3), bool),
      TypeError,
      "prototypes must be floating, got dtype bool",
    ),
    (
      jnp.ones((2, 3), jnp.complex64),
      jnp.ones((4, 3)),
      TypeError,
      "features must be floating, got dtype complex64",
    ),
    (None, jnp.ones((4, 3)), TypeError, "features must be an array of numbers, got NoneType"),
    (
      jnp.ones((2, 3)),
      [[1.0], [1.0, 2.0]],
      TypeError,
      "prototypes must be an array of numbers, got list",
    ),
    (
      jnp.ones((2, 3)),
      jnp.ones(3),
      ValueError,
      "prototypes must have shape [classes, features] with a class or more, got (3,)",
    ),
    (
      jnp.ones((2, 3)),
      jnp.ones((0, 3)),
      ValueError,
      "prototypes must have shape [classes, features] with a class or more, got (0, 3)",
    ),
    (
      jnp.ones((2, 5)),
      jnp.ones((4, 3)),
      ValueError,
      "features must have shape [..., 3] to fit prototypes of shape (4, 3), got (2, 5)",
    ),
    (
      jnp.ones(()),
      jnp.ones((4, 3)),
      ValueError,
      "features must have shape [..., 3] to fit prototypes of shape (4, 3), got ()",
    ),
  ],
)
def test_bad_arguments(features, prototypes, error, message):
  with pytest.raises(error, match=f"^{re.escape(message)}$"):
    pairwise_distance(features, prototypes)
  with pytest.raises(error, match=f"^{re.escape(message)}"):
    jitted(features, prototypes)
