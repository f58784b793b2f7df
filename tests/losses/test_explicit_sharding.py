"""Explicitly sharded arrays, a new mesh's default, beside a linear layer with Optax's loss."""

import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from isomax_jax import scores
from isomax_jax.losses import (
  dismax_logits,
  isomax_logits,
  isomax_plus_logits,
  outlier_exposure,
  scaled_cross_entropy,
  scaled_divergence,
)
from tests.distances import (
  DISTANCES,
  as_float32,
  assert_guaranteed,
  hard_cases,
)
from tests.slow import slow

SCORES = ("maximum_probability", "log_odds", "entropic_score", "max_logit", "energy", "mmles")


def linear(features, prototypes, labels):
  logits = jnp.matmul(features, prototypes.T)
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def cross_entropy_of(logits):
  return lambda f, p, labels: scaled_cross_entropy(logits(f, p), labels).mean()


def other_losses(features, prototypes, labels):
  del labels
  logits = isomax_logits(features, prototypes)
  targets = jax.nn.softmax(jax.lax.stop_gradient(logits))
  return outlier_exposure(logits).mean() + scaled_divergence(2 * logits, targets).mean()


def all_scores(features, prototypes, labels):
  del labels
  logits = isomax_logits(features, prototypes)
  return sum(getattr(scores, name)(logits).mean() for name in SCORES)


FUNCTIONS = {
  "isomax, direct": cross_entropy_of(DISTANCES["direct"]),
  "isomax, product": cross_entropy_of(lambda f, p: -DISTANCES["product"](f, p)),
  "isomax+": cross_entropy_of(lambda f, p: isomax_plus_logits(f, p, 1.0)),
  "dismax": cross_entropy_of(lambda f, p: dismax_logits(f, p, 1.0)),
  "other losses": other_losses,
  "scores": all_scores,
}
EXPLICIT = AxisType.Explicit
TWO, THREE = {"a": EXPLICIT, "b": EXPLICIT}, dict.fromkeys("abc", EXPLICIT)
MIXED = {"a": EXPLICIT, "b": AxisType.Auto}
# Axes of the mesh, each of two devices, and how features [4, 4, 8], prototypes [6, 8] and labels
# [4, 4] lie on it.
LAYOUTS = {
  "first axis": (TWO, P("a"), P(), P("a")),
  "second axis": (TWO, P(None, "b"), P(), P(None, "b")),
  "both leading axes": (TWO, P("a", "b"), P(), P("a", "b")),
  "one by both": (TWO, P(("a", "b")), P(), P(("a", "b"))),
  "components of features": (TWO, P("a", None, "b"), P(), P("a")),
  "components of prototypes": (TWO, P("a"), P(None, "b"), P("a")),
  "three axes": (THREE, P("a", "b", "c"), P(), P("a", "b")),
  "labels everywhere": (TWO, P("a"), P(), P()),
  "everything everywhere": (TWO, P(), P(), P()),
  "an automatic axis beside": (MIXED, P("a"), P(), P("a")),
}
# What a linear layer with Optax's loss refuses, and is taken here.
LAYOUTS_OF_OURS = {
  "classes": (TWO, P("a"), P("b"), P("a")),
  "components of both": (TWO, P("a", None, "b"), P(None, "b"), P("a")),
  "labels alone": (TWO, P(), P(), P("a")),
  "classes along an axis of the rows": (TWO, P("a"), P("a"), P("a")),
  "classes along the axis of components": (TWO, P(None, None, "a"), P("a"), P()),
}


def arguments(layout=None):
  """Draw features, prototypes and labels, and lay them out on a mesh that comes with them."""
  generator = np.random.default_rng(0)
  features = jnp.asarray(generator.normal(size=(4, 4, 8)), jnp.float32)
  prototypes = jnp.asarray(generator.normal(size=(6, 8)), jnp.float32)
  values = features, prototypes, jnp.asarray(generator.integers(0, 6, (4, 4)))
  if layout is None:
    return values
  axes, *specs = layout
  mesh = jax.make_mesh((2,) * len(axes), tuple(axes), axis_types=tuple(axes.values()))
  placed = [
    jax.device_put(value, NamedSharding(mesh, spec))
    for value, spec in zip(values, specs, strict=True)
  ]
  return mesh, placed


def inside(mesh, is_set):
  return jax.set_mesh(mesh) if is_set else contextlib.nullcontext()


@pytest.mark.parametrize("layout", [*map(slow, LAYOUTS), *LAYOUTS_OF_OURS])
@pytest.mark.parametrize("is_set", [slow(False), True], ids=["no mesh set", "mesh set"])
def test_layouts_of_a_linear_layer_are_taken(layout, is_set):
  mesh, placed = arguments({**LAYOUTS, **LAYOUTS_OF_OURS}[layout])
  with inside(mesh, is_set):
    if layout in LAYOUTS:
      jax.jit(linear).trace(*placed)  # JAX 0.12 refuses its gradient where no mesh is set.
    for function in FUNCTIONS.values():
      jax.jit(jax.value_and_grad(function, (0, 1))).trace(*placed)


@pytest.mark.parametrize(
  ("name", "layout"),
  [
    *(slow(name, "both leading axes") for name in FUNCTIONS),
    slow("isomax, product", "components of prototypes"),
    ("isomax, product", "classes"),
    slow("scores", "classes"),
  ],
)
def test_values_and_gradients_are_those_without_a_mesh(name, layout):
  function = jax.jit(jax.value_and_grad(FUNCTIONS[name], (0, 1)))
  expected = function(*arguments())
  _, placed = arguments({**LAYOUTS, **LAYOUTS_OF_OURS}[layout])
  value, gradients = function(*placed)
  chex.assert_trees_all_close((value, gradients), expected, rtol=1e-5, atol=1e-6)
  for gradient, argument in zip(gradients, placed, strict=False):
    assert gradient.sharding.is_equivalent_to(argument.sharding, argument.ndim)


@pytest.mark.slow
def test_outside_jit():
  _, placed = arguments(LAYOUTS["first axis"])
  function = FUNCTIONS["isomax, product"]
  np.testing.assert_allclose(function(*placed), jax.jit(function)(*arguments()), rtol=1e-5)


@pytest.mark.by_hand
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_outside_jit(name):
  mesh, placed = arguments(LAYOUTS["first axis"])
  expected = jax.jit(jax.grad(FUNCTIONS[name], (0, 1)))(*arguments())
  with jax.set_mesh(mesh):  # Without, JAX does not differentiate a linear layer either.
    gradients = jax.grad(FUNCTIONS[name], (0, 1))(*placed)
  chex.assert_trees_all_close(gradients, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", ["both leading axes", "components of features"])
@pytest.mark.parametrize("name", ["isomax, direct", "isomax, product", "isomax+"])
def test_prototypes_that_lie_on_no_mesh(name, layout):
  _, (features, _, labels) = arguments(LAYOUTS[layout])
  _, prototypes, _ = arguments()
  jax.jit(jax.value_and_grad(FUNCTIONS[name], (0, 1))).trace(features, prototypes, labels)


def test_guarantee_of_what_is_refined():
  axes, *specs = LAYOUTS["both leading axes"]
  mesh = jax.make_mesh((2, 2), tuple(axes))
  distance = jax.jit(DISTANCES["product"])
  for _, features, prototypes in as_float32(hard_cases(8)):
    placed = [
      jax.device_put(value, NamedSharding(mesh, spec))
      for value, spec in zip((features.reshape(4, 4, 8), prototypes), specs, strict=False)
    ]
    assert_guaranteed(distance(*placed).reshape(16, -1), features, prototypes)


@pytest.mark.parametrize("name", DISTANCES)
def test_mapped_over_a_sharded_axis(name):
  mesh, (features, prototypes, _) = arguments(LAYOUTS["both leading axes"])
  mapped = jax.vmap(jax.vmap(DISTANCES[name], (0, None)), (0, None))
  with jax.set_mesh(mesh):
    distances = jax.jit(mapped)(features, prototypes)
    gradient = jax.jit(jax.grad(lambda f, p: mapped(f, p).sum()))(features, prototypes)
  np.testing.assert_allclose(distances, jax.jit(mapped)(*arguments()[:2]), rtol=1e-5)
  assert gradient.shape == features.shape
