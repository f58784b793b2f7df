"""Steps of training from the same weights as PyTorch, in float64."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from isomax_jax.heads import IsoMaxHead
from isomax_jax.models import DenseNet, ResNet, create_model
from isomax_jax.training import OptimConfig, classification, create_state, train_step
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.typing import Batch
from tests.models import networks

torch = pytest.importorskip(
  "torch", reason="PyTorch is not installed: pip install -e '.[bench]' brings it"
)
from experiments.benchmarks import _torch  # noqa: E402 (only where there is PyTorch)

STEPS = 3
# Each kind of layer, PyTorch's, and what its variables are called there.
KINDS = {
  nn.Conv: (torch.nn.Conv2d, {"params/kernel": "weight"}),
  nn.BatchNorm: (
    torch.nn.BatchNorm2d,
    {
      "params/scale": "weight",
      "params/bias": "bias",
      "batch_stats/mean": "running_mean",
      "batch_stats/var": "running_var",
    },
  ),
  IsoMaxHead: (_torch.IsoMax, {"params/prototypes": "prototypes"}),
}


def layers_of(model, shape):
  """Return kinds and paths of the layers that have variables, in the order of their calls."""
  layers = []

  def record(call, arguments, keywords, context):
    if type(context.module) in KINDS and context.method_name == "__call__":
      layers.append((type(context.module), "/".join(context.module.path)))
    return call(*arguments, **keywords)

  with nn.intercept_methods(record):
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float64)
    jax.eval_shape(partial(model.init, train=False), jax.random.key(0), image)
  return layers


def names_in_pytorch(model, network, shape):
  """Return PyTorch's name of each variable, by path; every one of both networks once."""
  kinds = tuple(kind for kind, _ in KINDS.values())
  theirs = [item for item in network.named_modules() if isinstance(item[1], kinds)]
  names = {}
  for (kind, path), (name, module) in zip(layers_of(model, shape), theirs, strict=True):
    their_kind, variables = KINDS[kind]
    assert type(module) is their_kind, (path, name)
    for variable, their_variable in variables.items():
      collection, leaf = variable.split("/")
      names[f"{collection}/{path}/{leaf}"] = f"{name}.{their_variable}"
  stored = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
  assert sorted(names.values()) == sorted(stored)
  return names


def variables_of(network, names):
  """Return the variables of a network of PyTorch as ours, by path."""
  stored = network.state_dict()
  leaves = {path: stored[name].numpy().copy() for path, name in names.items()}
  return {
    path: leaf.transpose(2, 3, 1, 0) if path.endswith("/kernel") else leaf
    for path, leaf in leaves.items()
  }


def state_from(variables, model, shape, optim):
  """Return the state at step 0 with these variables, by path."""
  # Shapes alone: it would draw weights, in float32, that are not used.
  state = jax.eval_shape(lambda key: create_state(model, sgd(optim), key, shape), jax.random.key(0))
  initial = flatten_dict(state.variables, sep="/")
  assert {path: leaf.shape for path, leaf in initial.items()} == {
    path: leaf.shape for path, leaf in variables.items()
  }
  variables = unflatten_dict(variables, sep="/")
  return state.replace(
    **variables,
    step=np.int32(0),
    opt_state=jax.jit(state.tx.init)(variables["params"]),
    learning_rates=learning_rates(optim, total_steps=1000),
  )


def counts_of(network):
  """Return the numbers per channel that each BatchNorm will see in a step, filled by the steps."""
  counts = {}
  for name, module in network.named_modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.register_forward_hook(
        lambda module, inputs, output, name=name: counts.update({name: output[:, 0].numel()})
      )
  return counts


def train(network, batches, *, learning_rate):
  """Train a network of PyTorch, a step a batch, and return the loss before each step."""
  optimizer = _torch.sgd(network, learning_rate=learning_rate)
  network.train()
  losses = []
  for images, labels in batches:
    # One after the other, as the authors take them.
    probabilities = torch.softmax(10 * network(images), dim=1)
    loss = -torch.log(probabilities[torch.arange(len(labels)), labels]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
  return losses


def make_network(make, classes, **options):
  """Return a network of PyTorch with an IsoMax head, the same one every time."""
  torch.manual_seed(0)
  return make(lambda features: _torch.IsoMax(features, classes), **options)


def errors_of_training(model, network, shape, *, classes, batch, jit=jax.jit):
  """Train both on the same images.

  Args:
    model: The library's network.
    network: PyTorch's, whose weights both start with.
    shape: Height, width and channels of an image.
    classes: Number of classes.
    batch: Number of images in a step.
    jit: How the step is compiled.

  Returns:
    How far each variable's update is from PyTorch's at the most, relative to the largest update of
    that variable, by path; and the same of the losses, relative.
  """
  generator = np.random.default_rng(0)
  images = generator.normal(size=(STEPS, batch, *shape))
  labels = generator.integers(0, classes, (STEPS, batch))
  optim = OptimConfig()

  network = network.double()
  counts = counts_of(network)
  with jax.enable_x64(True):
    names = names_in_pytorch(model, network, shape)
    before = variables_of(network, names)
    state = state_from(before, model, shape, optim)
    objective = classification(lambda key, batch: batch.images, entropic_scale=10.0)
    step, losses = jit(partial(train_step, objective=objective)), []
    for step_images, step_labels in zip(images, labels, strict=True):
      rows = Batch(step_images, step_labels, positions=np.arange(batch))
      state, metrics = step(state, rows, jax.random.key(0))
      losses.append(float(metrics["loss"]))
    after = flatten_dict(jax.device_get(state.variables), sep="/")
  assert {leaf.dtype for leaf in after.values()} == {np.dtype("float64")}

  batches = zip(torch.tensor(images.transpose(0, 1, 4, 2, 3)), torch.tensor(labels), strict=True)
  # The library keeps learning rates in float32.
  their_losses = train(network, batches, learning_rate=float(np.float32(0.1)))
  their_after = variables_of(network, names)
  errors = {}
  for path, start in before.items():
    update, their_update = after[path] - start, their_after[path] - start
    if path.endswith("/var"):
      # PyTorch's running variance is made of unbiased ones, Flax's of biased ones; what is left
      # of the start is the same in both.
      count, left = counts[names[path].rpartition(".")[0]], 0.9**STEPS * start
      update = left + (after[path] - left) * count / (count - 1) - start
    errors[path] = np.abs(update - their_update).max() / np.abs(their_update).max()
  return errors, np.abs(np.divide(losses, their_losses) - 1).max()


def assert_same_training(*arguments, tolerance, **options):
  """Compare the parameters and statistics that both trainings end with, and their losses."""
  errors, error_of_losses = errors_of_training(*arguments, **options)
  assert not {path: error for path, error in errors.items() if not error < tolerance}
  assert error_of_losses < 1e-12


@pytest.mark.parametrize(
  ("make_model", "make", "options"),
  [
    (
      partial(ResNet, stage_sizes=(1, 1), widths=(4, 6)),
      _torch.resnet,
      {"sizes": (1, 1), "widths": (4, 6)},
    ),
    (
      partial(DenseNet, block_sizes=(1, 1), growth_rate=3),
      _torch.densenet,
      {"sizes": (1, 1), "growth": 3},
    ),
  ],
  ids=["resnet", "densenet"],
)
def test_steps_of_a_small_network_are_those_of_pytorch(make_model, make, options):
  model, network = make_model(IsoMaxHead(5), dtype=jnp.float64), make_network(make, 5, **options)
  options = {"classes": 5, "batch": 4, "jit": networks.jit}
  assert_same_training(model, network, (8, 8, 3), tolerance=1e-11, **options)


# Rounding grows from step to step, the more so at a rate of .1 and the wider the network.
@pytest.mark.by_hand
@pytest.mark.parametrize(
  ("name", "parameters", "tolerance"),
  [("resnet34", 21_282_112, 3e-10), ("densenet_bc_100", 769_152, 3e-11)],
)
def test_steps_of_the_papers_networks_are_those_of_pytorch(name, parameters, tolerance):
  network = make_network(_torch.NETWORKS[name], 10)
  assert sum(leaf.numel() for leaf in network.parameters()) == parameters
  model = create_model(name, 10, dtype=jnp.float64)
  assert_same_training(model, network, (32, 32, 3), tolerance=tolerance, classes=10, batch=8)
