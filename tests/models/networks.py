"""Small configurations of the networks, and what their tests measure and compare with."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from isomax_jax.heads import IsoMaxHead
from isomax_jax.models import DenseNet, ResNet, WideResNet, create_model
from isomax_jax.typing import Outputs
from tests import oracles

SMALL = {
  "resnet": functools.partial(ResNet, stage_sizes=(2, 1, 2), widths=(4, 6, 10)),
  "densenet": functools.partial(DenseNet, block_sizes=(2, 1, 2), growth_rate=3),
  "wide_resnet": functools.partial(WideResNet, stage_size=2, widening=2),
}
CLASSES = 5
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)
# The gradients are those of the logits' sum with these weights.
WEIGHTS = np.random.default_rng(1).normal(size=(len(IMAGES), CLASSES)).astype(np.float32)


def small(name, dtype="float32", **options):
  """Return the small configuration of a network."""
  return SMALL[name](IsoMaxHead(CLASSES), dtype=jnp.dtype(dtype), **options)


# Compiling takes most of the time here, so spend as little on it as gives the same numbers.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def initial(name, **options):
  """Return the variables that a small network starts with."""
  initialize = functools.partial(small(name, **options).init, train=False)
  return jit(initialize)(jax.random.key(0), IMAGES)


class Forward(NamedTuple):
  """What came of a forward pass.

  Attributes:
    variables: The variables that went in.
    outputs: The network's outputs.
    layers: What each convolution and BatchNorm gave, by path, such as ``"BasicBlock_0/Conv_0"``.
    statistics: The running statistics afterwards, by path.
  """

  variables: dict
  outputs: Outputs
  layers: dict
  statistics: dict


@functools.cache
def forward(name, *, train, dtype="float32"):
  """Run a small network with random variables."""
  variables = randomize(initial(name))
  run = functools.partial(
    small(name, dtype).apply,
    train=train,
    mutable=["batch_stats", "intermediates"],
    capture_intermediates=lambda module, _: isinstance(module, nn.Conv | nn.BatchNorm),
  )
  outputs, updates = jit(run)(variables, IMAGES)
  layers = flatten_dict(updates["intermediates"], sep="/")
  return Forward(
    variables,
    outputs,
    {path.removesuffix("/__call__"): value for path, (value,) in layers.items()},
    flatten_dict(updates["batch_stats"], sep="/"),
  )


@functools.cache
def gradient(name):
  """Return the gradient in training by the parameters of a small network, by path."""
  variables = randomize(initial(name))

  def value(params):
    outputs, _ = small(name).apply(
      {**variables, "params": params}, IMAGES, train=True, mutable=["batch_stats"]
    )
    return jnp.sum(outputs.logits * WEIGHTS)

  return flatten_dict(jit(jax.grad(value))(variables["params"]), sep="/")


def randomize(variables):
  """Return variables in which scales, biases, statistics and prototypes are random too."""
  generator = np.random.default_rng(2)

  def draw(path, leaf):
    if path[-1] in ("scale", "var"):
      return generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    if path[-1] in ("bias", "mean", "prototypes"):
      return generator.normal(size=leaf.shape).astype(np.float32)
    return np.asarray(leaf)

  flat = flatten_dict(variables)
  return unflatten_dict({path: draw(path, flat[path]) for path in sorted(flat)})


class Layers:
  """Float64 convolutions and BatchNorms, by the path of their variables.

  Attributes:
    results: What each gave, by path.
    statistics: The running statistics afterwards, by path.
  """

  def __init__(self, variables, *, train):
    self._params = flatten_dict(variables["params"], sep="/")
    self._old = flatten_dict(variables["batch_stats"], sep="/")
    self._train = train
    self.results = {}
    self.statistics = {}

  def convolution(self, path, x, *, stride=1):
    kernel = self._params[f"{path}/kernel"]
    padding = {1: 0, 3: 1}[kernel.shape[0]]
    self.results[path] = oracles.convolution(x, kernel, stride=stride, padding=padding)
    return self.results[path]

  def norm(self, path, x):
    old = {name: self._old[f"{path}/{name}"].astype(np.float64) for name in ("mean", "var")}
    new = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
    used = new if self._train else old
    for name in old:
      moved = 0.9 * old[name] + 0.1 * new[name]
      self.statistics[f"{path}/{name}"] = moved if self._train else old[name]
    scale, bias = self._params[f"{path}/scale"], self._params[f"{path}/bias"]
    self.results[path] = oracles.batch_norm(x, scale, bias, **used)
    return self.results[path]


def assert_forward(name, reference, *, train):
  """Compare every layer of a small network with float64 ones.

  Args:
    name: A key of ``SMALL``.
    reference: Function of :class:`Layers` to the activations whose means are the stages.
    train: Whether BatchNorm is in training.
  """
  actual = forward(name, train=train)
  layers = Layers(actual.variables, train=train)
  maps = reference(layers)
  assert set(actual.layers) == set(layers.results)
  assert set(actual.statistics) == set(layers.statistics)
  for path, expected in layers.results.items():
    _assert_close(actual.layers[path], expected, path)
  for path, expected in layers.statistics.items():
    _assert_close(actual.statistics[path], expected, path)
  means = [values.mean((1, 2)) for values in maps]
  for number, (stage, mean) in enumerate(zip(actual.outputs.stages, means, strict=True)):
    _assert_close(stage, mean, f"stage {number}")
  _assert_close(actual.outputs.features, means[-1], "features")
  prototypes = actual.variables["params"]["head"]["prototypes"]
  _assert_close(actual.outputs.logits, oracles.isomax_logits(means[-1], prototypes), "logits")


def assert_gradient(name, reference):
  """Compare the gradient with float64 differences of the reference along a random direction."""
  variables = randomize(initial(name))
  params = flatten_dict(variables["params"], sep="/")
  generator = np.random.default_rng(3)
  directions = [generator.normal(size=leaf.shape) for leaf in params.values()]

  def value(*leaves):
    moved = unflatten_dict(dict(zip(params, leaves, strict=True)), sep="/")
    maps = reference(Layers({**variables, "params": moved}, train=True))
    features = maps[-1].mean((1, 2))
    return np.sum(oracles.isomax_logits(features, moved["head"]["prototypes"]) * WEIGHTS)

  # Small enough to cross few corners of ReLU.
  expected = oracles.directional_derivative(value, params.values(), directions, step=1e-6)
  leaves = gradient(name)
  actual = sum(np.vdot(leaves[path], v) for path, v in zip(params, directions, strict=True))
  np.testing.assert_allclose(actual, expected, rtol=1e-4)


def _assert_close(actual, expected, path):
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4, err_msg=path)


def trace(name, num_classes, *, head="softmax"):
  """Return a network of ``create_model``, and its shapes for an image of 32×32×3."""
  model = create_model(name, num_classes, head=head)
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  initialize = functools.partial(model.init_with_output, train=False)
  outputs, variables = jax.eval_shape(initialize, jax.random.key(0), image)
  return model, image, outputs, variables


def count_parameters(name, num_classes, *, head):
  *_, variables = trace(name, num_classes, head=head)
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def count_multiply_adds(name, num_classes):
  """Count those of the convolutions and matrix products for one image."""
  model, image, _, variables = trace(name, num_classes)
  return _multiply_adds(
    jax.make_jaxpr(functools.partial(model.apply, train=False))(variables, image)
  )


def stage_shapes(name):
  _, _, outputs, _ = trace(name, 10)
  assert outputs.stages[-1].shape == outputs.features.shape
  return [stage.shape for stage in outputs.stages]


def _multiply_adds(jaxpr):
  """Count those of a jaxpr and of the jaxprs within it."""
  total = 0
  for equation in jaxpr.eqns:
    size = equation.outvars[0].aval.size
    if equation.primitive.name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      total += size * kernel.size // kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    elif equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += size * int(np.prod([shape[axis] for axis in contracted]))
    for value in equation.params.values():
      if hasattr(value, "eqns"):
        total += _multiply_adds(value)
  return total
