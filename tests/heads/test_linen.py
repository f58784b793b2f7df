"""Linen heads: their parameters, and one call into the pure function."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax import heads
from isomax_jax.losses import dismax_logits, isomax_logits, isomax_plus_logits
from tests import oracles
from tests.programs import dot_precisions

WIDTH, CLASSES = 400, 10
SHAPES = {
  "softmax": {"kernel": (WIDTH, CLASSES), "bias": (CLASSES,)},
  "isomax": {"prototypes": (CLASSES, WIDTH)},
  "isomax_plus": {"prototypes": (CLASSES, WIDTH), "distance_scale": ()},
  "dismax": {"prototypes": (CLASSES, WIDTH), "distance_scale": ()},
}
PURE = {
  "softmax": lambda f, kernel, bias: jnp.matmul(f, kernel, precision="highest") + bias[None, None],
  "isomax": isomax_logits,
  "isomax_plus": isomax_plus_logits,
  "dismax": dismax_logits,
}
ORACLES = {
  "softmax": lambda f, kernel, bias: f @ kernel + bias,
  "isomax": oracles.isomax_logits,
  "isomax_plus": oracles.isomax_plus_logits,
  "dismax": oracles.dismax_logits,
}


@pytest.fixture(scope="module", params=sorted(SHAPES))
def name(request):
  return request.param


@pytest.fixture(scope="module")
def head(name):
  return heads.HEADS[name].linen(num_classes=CLASSES)


@pytest.fixture(scope="module")
def params(head):
  return jax.jit(head.init)(jax.random.key(0), jnp.ones((1, WIDTH)))["params"]


def features(*batch):
  return jnp.asarray(np.random.default_rng(0).normal(size=(*batch, WIDTH)), jnp.float32)


def test_table_lists_every_head():
  names = {name: entry.linen.__name__ for name, entry in heads.HEADS.items()}
  assert names == {
    "softmax": "SoftmaxHead",
    "isomax": "IsoMaxHead",
    "isomax_plus": "IsoMaxPlusHead",
    "dismax": "DisMaxHead",
  }


def test_names_shapes_and_dtypes(name, params):
  assert {key: value.shape for key, value in params.items()} == SHAPES[name]
  chex.assert_type(list(params.values()), jnp.float32)


def test_initial_values(name, params):
  if name == "softmax":
    bound = WIDTH**-0.5
    kernel = np.asarray(params["kernel"])
    assert bound * 0.99 < np.abs(kernel).max() <= bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.05 * bound)
    np.testing.assert_array_equal(params["bias"], 0)
  elif name == "isomax":
    np.testing.assert_array_equal(params["prototypes"], 0)
  else:
    prototypes = np.asarray(params["prototypes"])
    np.testing.assert_allclose(prototypes.std(), 1, rtol=0.05)
    np.testing.assert_allclose(prototypes.mean(), 0, atol=0.05)
    assert np.abs(prototypes).max() > 3  # not truncated at two deviations
    assert params["distance_scale"] == 1


def test_entropic_scale_of_training(name):
  assert heads.HEADS[name].entropic_scale == (1.0 if name == "softmax" else 10.0)


def test_logits_are_the_pure_function_of_the_parameters(name, head, params):
  generator = np.random.default_rng(1)
  params = {k: v + np.float32(0.1 * generator.normal(size=v.shape)) for k, v in params.items()}
  f = features(2, 3)
  pure = PURE[name]

  @jax.jit
  def both(params):
    return head.apply({"params": params}, f), pure(f, *(params[key] for key in SHAPES[name]))

  logits, expected = both(params)
  np.testing.assert_array_equal(logits, expected)
  oracle = ORACLES[name](np.float64(f), *(np.float64(params[key]) for key in SHAPES[name]))
  np.testing.assert_allclose(logits, oracle, rtol=1e-5, atol=1e-5)


def test_logits_are_float32_for_any_features(head, params):
  variables = {"params": params}
  for dtype in (jnp.bfloat16, jnp.float16):
    for batch in ((), (2,), (2, 3)):
      logits = jax.eval_shape(head.apply, variables, jnp.ones((*batch, WIDTH), dtype))
      assert (logits.shape, logits.dtype) == ((*batch, CLASSES), jnp.float32)


def test_products_run_at_the_highest_precision(head, params):
  def loss(params, features):
    return head.apply({"params": params}, features).sum()

  with jax.default_matmul_precision("bfloat16"):
    precisions = dot_precisions(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, features(4)))
  assert set(precisions) == {(jax.lax.Precision.HIGHEST,) * 2}


def test_gradient_reaches_every_parameter(head, params):
  weights = jnp.arange(CLASSES, dtype=jnp.float32)[None]
  loss = lambda params: (head.apply({"params": params}, features(4)) * weights).sum()  # noqa: E731
  for key, gradient in jax.jit(jax.grad(loss))(params).items():
    assert np.isfinite(gradient).all(), key
    assert np.any(gradient != 0), key


def test_bad_features(head):
  with pytest.raises(TypeError, match=r"^features must be floating, got dtype int32"):
    head.init(jax.random.key(0), jnp.ones((1, WIDTH), int))


def test_features_of_another_width(head, params):
  with pytest.raises(Exception, match=re.escape(str(WIDTH))):
    head.apply({"params": params}, jnp.ones((1, WIDTH + 1)))
