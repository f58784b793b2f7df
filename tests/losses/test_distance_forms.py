"""Which form distances take: by sizes, platforms and what is known when a program is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.losses import _distances, isomax_logits, pairwise_distance, scaled_cross_entropy
from tests import oracles
from tests.distances import as_float32, assert_guaranteed, hard_cases, spread, unit


def count_whiles(program):
  return program.as_text().count("stablehlo.while")


def lower(function, *arguments, platform):
  return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_form_changes_at_the_bound_of_each_platform(platform):
  width = 8
  largest = _distances._LARGEST_DIRECT[platform]
  for rows in (1, 64, 1024):
    classes = largest // (rows * width)
    for more in (0, 1):
      shapes = [jax.ShapeDtypeStruct((n, width), jnp.float32) for n in (rows, classes + more)]
      program = lower(pairwise_distance, *shapes, platform=platform)
      assert count_whiles(program) == more, f"{rows} rows, {classes + more} classes"


@pytest.mark.parametrize("prototypes_mapped", [False, True])
def test_rows_that_are_mapped_over_count(prototypes_mapped):
  rows, classes, width = 8192, 16, 8  # of which 64 would be differenced directly
  mapped = jax.vmap(pairwise_distance, (0, 0 if prototypes_mapped else None))
  prototypes = (rows // 64,) * prototypes_mapped + (classes, width)
  shapes = [
    jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows // 64, 64, width), prototypes)
  ]
  assert count_whiles(lower(mapped, *shapes, platform="cpu")) == 1
  assert count_whiles(lower(mapped, *shapes, platform="cuda")) == 0


def test_guarantee_on_both_sides_of_the_bound():
  generator = np.random.default_rng(0)
  classes = _distances._LARGEST_DIRECT["cpu"] // (64 * 8)
  for more in (0, 1):
    prototypes = np.float32(unit(generator, classes + more, 8))
    own = np.arange(64) % (classes + more)
    features = np.float32(prototypes[own] + 1e-3 * unit(generator, 64, 8))
    assert_guaranteed(jax.jit(pairwise_distance)(features, prototypes), features, prototypes)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_a_training_step_has_no_loop_on_an_accelerator(platform, classes):
  def loss(features, prototypes, labels):
    return scaled_cross_entropy(isomax_logits(features, prototypes), labels).mean()

  arguments = jnp.ones((64, 512)), jnp.zeros((classes, 512)), jnp.zeros(64, int)
  program = lower(jax.value_and_grad(loss, (0, 1)), *arguments, platform=platform)
  assert count_whiles(program) == 0


def exported(function, width, classes, **options):
  """Export a function of ``[batch, width]``, the batch symbolic, and ``[classes, width]``."""
  (batch,) = jax.export.symbolic_shape("batch")
  shapes = (
    jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((batch, width), (classes, width))
  )
  return jax.export.export(jax.jit(function), **options)(*shapes)


def test_symbolic_classes():
  batch, classes = jax.export.symbolic_shape("batch, classes")
  shapes = [jax.ShapeDtypeStruct((size, 8), jnp.float32) for size in (batch, classes)]
  function = jax.export.export(jax.jit(pairwise_distance))(*shapes)
  assert "stablehlo.while" not in function.mlir_module()
  features, prototypes = (np.float32(unit(np.random.default_rng(0), n, 8)) for n in (3, 5))
  assert_guaranteed(function.call(features, prototypes), features, prototypes)


@pytest.mark.parametrize("classes", [128, 129])
def test_symbolic_batch(classes):
  # 128 × 512 is what is differenced directly; every platform takes the same form.
  assert _distances._LARGEST_DIRECT_EXPORTED == 128 * 512
  generator = np.random.default_rng(0)
  function = exported(pairwise_distance, 512, classes, platforms=("cpu", "cuda", "tpu"))
  assert "stablehlo.while" not in function.mlir_module()
  assert (f"<?x{classes}x512xf32>" in function.mlir_module()) == (classes == 128)
  prototypes = np.float32(unit(generator, classes, 512))
  for rows in (1, 3, 80):
    # Each beside a prototype, and one that has a twin.
    features = np.float32(prototypes[:rows] + 1e-3 * unit(generator, rows, 512))
    prototypes[-1] = prototypes[0]
    assert_guaranteed(jax.jit(function.call)(features, prototypes), features, prototypes)


def test_without_a_loop_two_distances_are_refined_and_the_others_keep_their_bound():
  for name, features, prototypes in as_float32(hard_cases(64)):
    distances = np.asarray(jax.jit(_distances._by_product_without_loop)(features, prototypes))
    exact = oracles.distances(features, prototypes)
    of_features, of_prototypes = spread(features, prototypes)
    scale = of_features**2 + of_prototypes**2
    error = np.abs(np.float64(distances) - exact) * exact
    assert (error <= 1e-6 * scale).all(), name
    assert (distances >= 0).all(), name
    two = (exact**2 < 0.06 * scale).sum(axis=-1) <= 2  # those that a product may blur
    assert_guaranteed(distances[two], features[two], prototypes)
