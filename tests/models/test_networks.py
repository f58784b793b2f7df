"""What holds for every network, on small configurations."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from isomax_jax.heads import IsoMaxHead
from isomax_jax.models import create_model
from isomax_jax.training import OptimConfig, classification, create_state, train_step
from isomax_jax.training.devices import AXIS, make_runner
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.typing import Batch
from tests.models import networks

each_network = pytest.mark.parametrize("name", networks.SMALL)


@pytest.mark.slow
@each_network
def test_every_convolution_starts_normal_by_its_number_of_outputs(name):
  params = flatten_dict(networks.initial(name)["params"], sep="/")
  kernels = {path: np.asarray(leaf) for path, leaf in params.items() if path.endswith("/kernel")}
  assert set(params) - set(kernels) == {
    path for path in params if path.endswith(("/scale", "/bias", "/prototypes"))
  }
  for path, kernel in kernels.items():
    z = kernel / np.sqrt(2 / (kernel.shape[0] * kernel.shape[1] * kernel.shape[3]))
    assert abs(z.std() - 1) < 5 / np.sqrt(2 * z.size), path


@pytest.mark.slow
@each_network
def test_evaluation_leaves_the_statistics_alone(name):
  forward = networks.forward(name, train=False)
  before = flatten_dict(forward.variables["batch_stats"], sep="/")
  assert set(forward.statistics) == set(before)
  for path, statistic in before.items():
    np.testing.assert_array_equal(forward.statistics[path], statistic, err_msg=path)


@pytest.mark.slow
@each_network
def test_gradient_reaches_every_parameter(name):
  gradient = networks.gradient(name)
  assert set(gradient) == set(flatten_dict(networks.initial(name)["params"], sep="/"))
  for path, leaf in gradient.items():
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 1e-3, path


@pytest.mark.slow
@each_network
def test_bfloat16_agrees_with_float32(name):
  model = networks.small(name, "bfloat16")
  initialize = partial(model.init, train=False)
  variables = jax.eval_shape(initialize, jax.random.key(0), networks.IMAGES)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
  forward = networks.forward(name, train=True, dtype="bfloat16")
  expected = networks.forward(name, train=True)
  assert {leaf.dtype for leaf in forward.layers.values()} == {jnp.dtype("bfloat16")}
  leaves = [*forward.statistics.values(), *forward.outputs.stages]
  leaves += [forward.outputs.features, forward.outputs.logits]
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
  pairs = [(forward.outputs.logits, expected.outputs.logits)]
  pairs += zip(forward.outputs.stages, expected.outputs.stages, strict=True)
  for actual, exact in pairs:
    error = np.linalg.norm(actual - exact) / np.linalg.norm(exact)
    # Half a unit in the last place is 2**-9.
    assert 2**-14 < error < 2**-6


@each_network
def test_every_norm_averages_over_the_networks_axis(name):
  model = networks.SMALL[name](IsoMaxHead(networks.CLASSES), axis_name="data")
  axes = []

  def record(call, arguments, keywords, context):
    if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
      axes.append(context.module.axis_name)
    return call(*arguments, **keywords)

  with nn.intercept_methods(record):
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), networks.IMAGES)
  assert axes == ["data"] * (len(jax.tree.leaves(variables["batch_stats"])) // 2)


@pytest.mark.by_hand
@pytest.mark.parametrize("name", ["resnet34", "densenet_bc_100"])
def test_a_step_is_the_same_through_pmap_and_sharded_and_on_one_device(name):
  images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
  source = Batch(images, np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32))

  def fetch(source, draw):
    return jax.tree.map(lambda leaf: leaf[draw], source)

  def prepare(key, batch):
    del key
    return batch.images.astype(jnp.float32) / 128 - 1

  def run(strategy, devices):
    axis_name = AXIS if strategy == "pmap" else None
    model = create_model(name, 10, axis_name=axis_name)
    optim = OptimConfig(weight_decay=0.0, learning_rate=1e-3)
    step = partial(
      train_step, objective=classification(prepare, entropic_scale=10.0), axis_name=axis_name
    )
    runner = make_runner(
      step, fetch, strategy=strategy, devices=jax.devices()[:devices], batch_size=4
    )
    rates = learning_rates(optim, total_steps=2)
    state = runner.replicate(
      create_state(model, sgd(optim), jax.random.key(0), (32, 32, 3), learning_rates=rates)
    )
    arguments = (
      runner.replicate(source),
      runner.place(np.arange(4, dtype=np.int32)[None]),
      runner.replicate(jax.random.key(1)),
    )
    state, metrics = runner.lower(state, *arguments).compile()(state, *arguments)
    # After one step, without weight decay, the momentum is the gradient.
    momentum = optax.tree_utils.tree_get(state.opt_state, "trace")
    return jax.device_get((metrics["loss"], momentum))

  (loss, gradient), (other_loss, other_gradient) = run("pmap", 4), run("sharded", 4)
  np.testing.assert_allclose(loss, other_loss, rtol=1e-5)
  for leaf, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(other_gradient), strict=True):
    assert np.isfinite(leaf).all()
    assert np.linalg.norm(leaf - other) < 1e-4 * np.linalg.norm(other)
  # In another order of sums, leaves whose terms nearly cancel keep fewer digits.
  alone, gradient_alone = run("sharded", 1)
  np.testing.assert_allclose(alone, loss, rtol=1e-5)
  difference = jax.tree.map(np.subtract, gradient_alone, gradient)
  assert optax.tree.norm(difference) < 1e-4 * optax.tree.norm(gradient)
