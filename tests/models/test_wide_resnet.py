import numpy as np
import pytest

from tests.models import networks


@pytest.mark.parametrize(
  ("head", "num_classes", "parameters"),
  [
    ("isomax", 10, 36_479_184),
    ("softmax", 10, 36_479_194),
    ("isomax", 100, 36_536_784),
    ("softmax", 100, 36_536_884),
  ],
)
def test_parameters_of_wide_resnet_28_10(head, num_classes, parameters):
  assert networks.count_parameters("wide_resnet_28_10", num_classes, head=head) == parameters


def test_multiply_adds_and_stages_of_wide_resnet_28_10():
  assert networks.count_multiply_adds("wide_resnet_28_10", 10) == 5_243_328_768
  assert networks.stage_shapes("wide_resnet_28_10") == [(1, 16), (1, 160), (1, 320), (1, 640)]


def reference(layers):
  """Return the activations of the small network's stages, in float64."""

  def activate(path, x):
    return np.maximum(layers.norm(path, x), 0)

  def block(number, x, *, stride=1, projected=False):
    path = f"PreActivationBlock_{number}"
    activations = activate(f"{path}/BatchNorm_0", x)
    y = layers.convolution(f"{path}/Conv_0", activations, stride=stride)
    y = layers.convolution(f"{path}/Conv_1", activate(f"{path}/BatchNorm_1", y))
    if projected:
      x = layers.convolution(f"{path}/Conv_2", activations, stride=stride)
    return x + y

  stem = layers.convolution("Conv_0", networks.IMAGES)
  first = block(1, block(0, stem, projected=True))
  second = block(3, block(2, first, stride=2, projected=True))
  last = block(5, block(4, second, stride=2, projected=True))
  return [stem, first, second, activate("BatchNorm_0", last)]


@pytest.mark.parametrize("train", [False, True])
def test_every_layer_equals_float64(train):
  networks.assert_forward("wide_resnet", reference, train=train)


def test_gradient_equals_float64():
  networks.assert_gradient("wide_resnet", reference)
