"""The small network against a float64 forward pass of its own, and how it treats statistics."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.losses import scaled_cross_entropy
from isomax_jax.models import create_model
from tests import oracles

LAYERS = ((16, 2), (16, 2), (32, 1), (32, 2), (64, 1), (64, 1))
STAGE_ENDS = (1, 3, 5)
MODEL = create_model("small_cnn", num_classes=8)


@pytest.fixture(scope="module")
def variables():
  init = jax.jit(lambda key: MODEL.init(key, jnp.zeros((1, 28, 28, 1)), train=False))
  return init(jax.random.key(0))


@pytest.fixture(scope="module")
def disturbed(variables):
  """Variables in which no scale is 1 and no mean or prototype 0, as after training."""
  generator = np.random.default_rng(0)

  def disturb(leaf):
    return leaf * np.float32(generator.uniform(0.5, 1.5, leaf.shape)) + np.float32(
      0.1 * np.abs(generator.normal(size=leaf.shape))
    )

  return jax.tree.map(disturb, variables)


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(1).normal(size=(4, 28, 28, 1)).astype(np.float32)


@jax.jit
def evaluate(variables, images):
  return MODEL.apply(variables, images, train=False, mutable=["batch_stats"])


@jax.jit
def train(variables, images):
  return MODEL.apply(variables, images, train=True, mutable=["batch_stats"])


def layer(variables, i):
  params, statistics = variables["params"], variables.get("batch_stats", {})
  return (
    params[f"Conv_{i}"]["kernel"],
    params[f"BatchNorm_{i}"]["scale"],
    params[f"BatchNorm_{i}"]["bias"],
    *(statistics[f"BatchNorm_{i}"][key] for key in ("mean", "var")),
  )


def oracle_forward(variables, images, *, train):
  """Return logits, stages, and each layer's mean and variance over the batch, in float64."""
  x, stages, seen = np.float64(images), [], []
  for i, (_, stride) in enumerate(LAYERS):
    kernel, scale, bias, mean, var = layer(variables, i)
    x = oracles.convolution(x, kernel, stride=stride, padding=1)
    seen.append((x.mean((0, 1, 2)), x.var((0, 1, 2))))
    mean, var = seen[-1] if train else (mean, var)
    x = np.maximum(oracles.batch_norm(x, scale, bias, mean, var), 0)
    if i in STAGE_ENDS:
      stages.append(x.mean((1, 2)))
  return oracles.isomax_logits(stages[-1], variables["params"]["head"]["prototypes"]), stages, seen


def test_number_of_parameters(variables):
  sizes = [leaf.size for leaf in jax.tree.leaves(variables["params"])]
  assert sum(sizes) == 72_528
  softmax = create_model("small_cnn", 8, head="softmax")
  shapes = jax.eval_shape(
    lambda: softmax.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)), train=False)
  )
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 72_536


def test_shapes_of_layers_and_outputs(variables, images):
  kernels = [layer(variables, i)[0].shape for i in range(6)]
  widths = [1, *(width for width, _ in LAYERS)]
  assert kernels == [(3, 3, *pair) for pair in itertools.pairwise(widths)]
  outputs, _ = evaluate(variables, images)
  chex.assert_shape(outputs.logits, (4, 8))
  chex.assert_shape(outputs.features, (4, 64))
  chex.assert_shape(outputs.stages, [(4, 16), (4, 32), (4, 64)])
  np.testing.assert_array_equal(outputs.features, outputs.stages[-1])


def test_initial_kernels_are_normal_with_the_deviation_of_the_fan_out(variables):
  for i, (width, _) in enumerate(LAYERS):
    kernel = np.asarray(layer(variables, i)[0])
    deviation = np.sqrt(2 / (9 * width))
    np.testing.assert_allclose(kernel.std(), deviation, rtol=5 / np.sqrt(2 * kernel.size))
    np.testing.assert_allclose(kernel.mean(), 0, atol=5 * deviation / np.sqrt(kernel.size))
    if kernel.size > 2000:
      assert np.abs(kernel).max() > 3 * deviation  # not truncated at two deviations


def test_evaluation_equals_the_oracle(disturbed, images):
  outputs, _ = evaluate(disturbed, images)
  logits, stages, _ = oracle_forward(disturbed, images, train=False)
  for stage, expected in zip(outputs.stages, stages, strict=True):
    np.testing.assert_allclose(stage, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs.logits, logits, rtol=1e-4)


def test_training_equals_the_oracle_and_moves_the_statistics(disturbed, images):
  outputs, updated = train(disturbed, images)
  logits, stages, seen = oracle_forward(disturbed, images, train=True)
  for stage, expected in zip(outputs.stages, stages, strict=True):
    np.testing.assert_allclose(stage, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(outputs.logits, logits, rtol=1e-4)
  for i, (mean, var) in enumerate(seen):
    old_mean, old_var = np.float64(layer(disturbed, i)[3:])
    new = updated["batch_stats"][f"BatchNorm_{i}"]
    np.testing.assert_allclose(new["mean"], 0.9 * old_mean + 0.1 * mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["var"], 0.9 * old_var + 0.1 * var, rtol=1e-4)


def test_evaluation_leaves_the_statistics(disturbed, images):
  _, updated = evaluate(disturbed, images)
  chex.assert_trees_all_equal(updated["batch_stats"], disturbed["batch_stats"])


@pytest.mark.slow
def test_gradient_reaches_every_parameter(variables, images):
  @jax.jit
  def gradient(params):
    def loss(params):
      outputs, _ = MODEL.apply(
        {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
      )
      return scaled_cross_entropy(outputs.logits, jnp.arange(4)).mean()

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    assert np.isfinite(leaf).all(), path
    assert np.any(leaf != 0), path


def test_bfloat16_is_close_to_float32(disturbed, images):
  half = create_model("small_cnn", num_classes=8, dtype=jnp.bfloat16)
  outputs = jax.jit(lambda v, x: half.apply(v, x, train=False))(disturbed, images)
  chex.assert_type([outputs.logits, outputs.features, *outputs.stages], jnp.float32)
  expected, _ = evaluate(disturbed, images)
  np.testing.assert_allclose(outputs.logits, expected.logits, rtol=0.05)
  assert np.abs(outputs.logits - expected.logits).max() > 0  # it did compute in bfloat16


def test_statistics_are_averaged_over_the_mapped_axis(disturbed, images):
  mapped = create_model("small_cnn", num_classes=8, axis_name="batch")
  apply = jax.pmap(
    lambda x: mapped.apply(disturbed, x, train=True, mutable=["batch_stats"]), axis_name="batch"
  )
  outputs, updated = apply(images[:, None])
  expected, expected_update = train(disturbed, images)
  np.testing.assert_allclose(outputs.logits[:, 0], expected.logits, rtol=1e-4)
  for device in range(4):
    chex.assert_trees_all_close(
      jax.tree.map(lambda leaf, device=device: leaf[device], updated),
      expected_update,
      rtol=1e-4,
      atol=1e-5,
    )
