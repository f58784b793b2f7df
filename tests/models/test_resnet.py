import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from isomax_jax.models.resnet import BasicBlock
from tests.models import networks


@pytest.mark.parametrize(
  ("head", "num_classes", "parameters"),
  [
    ("isomax", 10, 21_282_112),
    ("softmax", 10, 21_282_122),
    ("isomax", 100, 21_328_192),
    ("softmax", 100, 21_328_292),
  ],
)
def test_parameters_of_resnet34(head, num_classes, parameters):
  assert networks.count_parameters("resnet34", num_classes, head=head) == parameters


def test_multiply_adds_and_stages_of_resnet34():
  assert networks.count_multiply_adds("resnet34", 10) == 1_159_402_496
  assert networks.stage_shapes("resnet34") == [(1, 64), (1, 64), (1, 128), (1, 256), (1, 512)]


def test_size_of_resnet_small():
  assert networks.count_multiply_adds("resnet_small", 10) == 27_796_416
  assert networks.stage_shapes("resnet_small") == [(1, 24), (1, 24), (1, 48), (1, 96)]


def reference(layers):
  """Return the activations of the small network's stages, in float64."""

  def relu(x):
    return np.maximum(x, 0)

  def block(number, x, *, stride=1, projected=False):
    path = f"BasicBlock_{number}"
    y = layers.convolution(f"{path}/Conv_0", x, stride=stride)
    y = relu(layers.norm(f"{path}/BatchNorm_0", y))
    y = layers.norm(f"{path}/BatchNorm_1", layers.convolution(f"{path}/Conv_1", y))
    if projected:
      x = layers.convolution(f"{path}/Conv_2", x, stride=stride)
      x = layers.norm(f"{path}/BatchNorm_2", x)
    return relu(x + y)

  stem = relu(layers.norm("BatchNorm_0", layers.convolution("Conv_0", networks.IMAGES)))
  first = block(1, block(0, stem))
  second = block(2, first, stride=2, projected=True)
  third = block(4, block(3, second, stride=2, projected=True))
  return [stem, first, second, third]


@pytest.mark.parametrize("train", [False, True])
def test_every_layer_equals_float64(train):
  networks.assert_forward("resnet", reference, train=train)


def test_gradient_equals_float64():
  networks.assert_gradient("resnet", reference)


@pytest.mark.slow
def test_only_the_last_scale_of_every_block_starts_at_zero_and_only_if_asked():
  plain, zeros = (
    flatten_dict(networks.initial("resnet", **options)["params"], sep="/")
    for options in ({}, {"zero_init_residual": True})
  )
  last = {f"BasicBlock_{number}/BatchNorm_1/scale" for number in range(5)}
  assert set(plain) == set(zeros) > last
  for path, leaf in plain.items():
    if path.endswith("/scale"):
      np.testing.assert_array_equal(leaf, np.ones_like(leaf), err_msg=path)
    expected = np.zeros_like(leaf) if path in last else leaf
    np.testing.assert_array_equal(zeros[path], expected, err_msg=path)


@pytest.mark.slow
def test_with_zeros_every_block_starts_as_its_shortcut():
  model = networks.small("resnet", zero_init_residual=True)
  _, updates = model.apply(
    networks.initial("resnet", zero_init_residual=True),
    networks.IMAGES,
    train=True,
    mutable=["batch_stats", "intermediates"],
    capture_intermediates=lambda module, _: isinstance(module, BasicBlock | nn.BatchNorm),
  )
  found = flatten_dict(updates["intermediates"], sep="/")
  x = nn.relu(found["BatchNorm_0/__call__"][0])
  for number in range(5):
    (shortcut,) = found.get(f"BasicBlock_{number}/BatchNorm_2/__call__", (x,))
    (x,) = found[f"BasicBlock_{number}/__call__"]
    assert np.abs(x).max() > 0.1
    np.testing.assert_array_equal(x, nn.relu(shortcut))


@pytest.mark.slow
def test_scales_of_zero_have_a_gradient():
  model = networks.small("resnet", zero_init_residual=True)
  variables = networks.initial("resnet", zero_init_residual=True)

  def value(params):
    outputs, _ = model.apply(
      {**variables, "params": params}, networks.IMAGES, train=True, mutable=["batch_stats"]
    )
    return (outputs.logits * networks.WEIGHTS).sum()

  gradient = flatten_dict(networks.jit(jax.grad(value))(variables["params"]), sep="/")
  for number in range(5):
    assert np.abs(gradient[f"BasicBlock_{number}/BatchNorm_1/scale"]).max() > 1e-3
