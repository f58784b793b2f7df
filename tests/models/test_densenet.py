import numpy as np
import pytest

from tests.models import networks


@pytest.mark.slow
@pytest.mark.parametrize(
  ("head", "num_classes", "parameters"),
  [
    ("isomax", 10, 769_152),
    ("softmax", 10, 769_162),
    ("isomax", 100, 799_932),
    ("softmax", 100, 800_032),
  ],
)
def test_parameters_of_densenet_bc_100(head, num_classes, parameters):
  assert networks.count_parameters("densenet_bc_100", num_classes, head=head) == parameters


@pytest.mark.slow
def test_multiply_adds_and_stages_of_densenet_bc_100():
  assert networks.count_multiply_adds("densenet_bc_100", 10) == 287_929_692
  assert networks.stage_shapes("densenet_bc_100") == [(1, 24), (1, 108), (1, 150), (1, 342)]


def reference(layers):
  """Return the activations of the small network's stages, in float64."""

  def activate(path, x):
    return np.maximum(layers.norm(path, x), 0)

  def bottleneck(number, x):
    path = f"BottleneckLayer_{number}"
    y = layers.convolution(f"{path}/Conv_0", activate(f"{path}/BatchNorm_0", x))
    y = layers.convolution(f"{path}/Conv_1", activate(f"{path}/BatchNorm_1", y))
    return np.concatenate([x, y], axis=-1)

  def transition(number, x):
    path = f"Transition_{number}"
    y = layers.convolution(f"{path}/Conv_0", activate(f"{path}/BatchNorm_0", x))
    return (y[:, ::2, ::2] + y[:, 1::2, ::2] + y[:, ::2, 1::2] + y[:, 1::2, 1::2]) / 4

  stem = layers.convolution("Conv_0", networks.IMAGES)
  first = transition(0, bottleneck(1, bottleneck(0, stem)))
  second = transition(1, bottleneck(2, first))
  last = activate("BatchNorm_0", bottleneck(4, bottleneck(3, second)))
  # 6 + 2·3 halve to 6; 6 + 3 halve, rounded down, to 4; with 2·3 more they are 10.
  assert [x.shape[-1] for x in (stem, first, second, last)] == [6, 6, 4, 10]
  return [stem, first, second, last]


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
def test_every_layer_equals_float64(train):
  networks.assert_forward("densenet", reference, train=train)


@pytest.mark.slow
def test_gradient_equals_float64():
  networks.assert_gradient("densenet", reference)
