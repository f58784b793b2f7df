"""NNX heads: the same names, parameters and numbers as the Linen ones."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from isomax_jax import heads
from isomax_jax.heads import nnx as nnx_heads
from tests.programs import dot_precisions

WIDTH, CLASSES = 400, 10
NAMES = ("DisMaxHead", "IsoMaxHead", "IsoMaxPlusHead", "SoftmaxHead")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
  return request.param


@pytest.fixture(scope="module")
def linen(name):
  head = getattr(heads, name)(num_classes=CLASSES)
  return head, jax.jit(head.init)(jax.random.key(0), jnp.ones((1, WIDTH)))["params"]


@pytest.fixture
def head(name):
  return getattr(nnx_heads, name)(WIDTH, CLASSES, rngs=nnx.Rngs(0))


def parameters(head):
  return nnx.to_pure_dict(nnx.state(head, nnx.Param))


def test_names_are_those_of_linen():
  public = {key for key, value in vars(nnx_heads).items() if isinstance(value, type)}
  assert {key for key in public if key.endswith("Head")} == set(NAMES)
  assert set(NAMES) == {entry.linen.__name__ for entry in heads.HEADS.values()}


def test_parameters_are_those_of_linen(head, linen):
  _, params = linen
  chex.assert_trees_all_equal_shapes_and_dtypes(parameters(head), dict(params))


def test_initial_values(name, head):
  params = parameters(head)
  if name == "SoftmaxHead":
    bound = WIDTH**-0.5
    kernel = np.asarray(params["kernel"])
    assert bound * 0.99 < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.05 * bound)
    np.testing.assert_array_equal(params["bias"], 0)
  elif name == "IsoMaxHead":
    np.testing.assert_array_equal(params["prototypes"], 0)
  else:
    prototypes = np.asarray(params["prototypes"])
    np.testing.assert_allclose(prototypes.std(), 1, rtol=0.05)
    np.testing.assert_allclose(prototypes.mean(), 0, atol=0.05)
    assert np.abs(prototypes).max() > 3
    assert params["distance_scale"] == 1


def test_same_numbers_with_the_weights_moved_across(head, linen):
  linen_head, params = linen
  generator = np.random.default_rng(1)
  params = {k: v + np.float32(0.1 * generator.normal(size=v.shape)) for k, v in params.items()}
  state = nnx.state(head)
  nnx.replace_by_pure_dict(state, params)
  nnx.update(head, state)
  features = np.float32(generator.normal(size=(2, 3, WIDTH)))

  @nnx.jit
  def both(head, params, features):
    return head(features), linen_head.apply({"params": params}, features)

  np.testing.assert_array_equal(*both(head, params, features))


def test_gradient_reaches_every_parameter(head):
  features = jnp.asarray(np.random.default_rng(0).normal(size=(4, WIDTH)), jnp.bfloat16)
  weights = jnp.arange(CLASSES, dtype=jnp.float32)[None]
  gradients = nnx.jit(nnx.grad(lambda head: (head(features) * weights).sum()))(head)
  for key, gradient in nnx.to_pure_dict(gradients).items():
    assert np.isfinite(gradient).all(), key
    assert np.any(np.asarray(gradient) != 0), key


def test_logits_are_float32(head):
  logits = nnx.eval_shape(lambda head: head(jnp.ones((2, 3, WIDTH), jnp.bfloat16)), head)
  assert (logits.shape, logits.dtype) == ((2, 3, CLASSES), jnp.float32)


def test_bad_features(head):
  with pytest.raises(TypeError, match=r"^features must be floating, got dtype int32$"):
    head(jnp.ones((1, WIDTH), int))


def test_products_run_at_the_highest_precision(head):
  with jax.default_matmul_precision("bfloat16"):
    program = jax.make_jaxpr(jax.grad(lambda f: head(f).sum()))(jnp.ones((4, WIDTH)))
  assert set(dot_precisions(program)) == {(jax.lax.Precision.HIGHEST,) * 2}
