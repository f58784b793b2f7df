"""The paper's networks in PyTorch, and steps of their training: no shared code with the library.

Written from the papers, with the conventions of PyTorch that the authors' training relies on. A
test compares three steps with the library's, parameter by parameter.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

MEAN, DEVIATION = (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)
PADDING, CLASSES = 4, 10
ENTROPIC_SCALE = {"isomax": 10.0, "softmax": 1.0}

Head = Callable[[int], nn.Module]


class IsoMax(nn.Module):
  """Negative distances to prototypes, every pair differenced."""

  def __init__(self, features: int, classes: int):
    super().__init__()
    self.prototypes = nn.Parameter(torch.zeros(classes, features))

  def forward(self, features: torch.Tensor) -> torch.Tensor:
    """Return the logits, shape ``[batch, classes]``."""
    return -(features[:, None, :] - self.prototypes[None, :, :]).norm(dim=-1)


class Network(nn.Module):
  """Layers, global average and a head that computes in its parameters' dtype."""

  def __init__(self, layers: list[nn.Module], head: nn.Module):
    super().__init__()
    self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    self.head = head

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    """Return the logits of images ``[batch, channels, height, width]``."""
    features = self.body(images)
    with torch.autocast(images.device.type, enabled=False):
      return self.head(features.to(next(self.head.parameters()).dtype))


class Residual(nn.Module):
  """Two 3×3 convolutions, and a shortcut that is projected where the shape changes."""

  def __init__(self, channels: int, width: int, stride: int):
    super().__init__()
    self.convolutions = nn.Sequential(
      convolution(channels, width, 3, stride=stride),
      nn.BatchNorm2d(width),
      nn.ReLU(),
      convolution(width, width, 3),
      nn.BatchNorm2d(width),
    )
    self.shortcut = nn.Identity()
    if stride != 1 or channels != width:
      self.shortcut = nn.Sequential(
        convolution(channels, width, 1, stride=stride), nn.BatchNorm2d(width)
      )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Return the block's activations."""
    return torch.relu(self.convolutions(x) + self.shortcut(x))


class Dense(nn.Module):
  """What came in, and channels computed from all of it by a 1×1 and a 3×3 convolution."""

  def __init__(self, channels: int, growth: int):
    super().__init__()
    self.added = nn.Sequential(
      nn.BatchNorm2d(channels),
      nn.ReLU(),
      convolution(channels, 4 * growth, 1),
      nn.BatchNorm2d(4 * growth),
      nn.ReLU(),
      convolution(4 * growth, growth, 3),
    )

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    """Return the old channels and the new ones."""
    return torch.cat([x, self.added(x)], dim=1)


def convolution(channels: int, width: int, size: int, *, stride: int = 1) -> nn.Conv2d:
  """Return a square convolution without bias that keeps height and width at stride 1."""
  layer = nn.Conv2d(channels, width, size, stride=stride, padding=size // 2, bias=False)
  nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
  return layer


def resnet(head: Head, *, sizes: tuple[int, ...], widths: tuple[int, ...]) -> Network:
  """Return a residual network: a 3×3 stem without pooling, and stages of blocks."""
  channels = widths[0]
  layers = [convolution(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU()]
  for stage, (size, width) in enumerate(zip(sizes, widths, strict=True)):
    for block in range(size):
      layers.append(Residual(channels, width, stride=2 if stage > 0 and block == 0 else 1))
      channels = width
  return Network(layers, head(channels))


def densenet(head: Head, *, sizes: tuple[int, ...], growth: int) -> Network:
  """Return a DenseNet-BC: a 3×3 stem, dense blocks, and halvings between them."""
  channels = 2 * growth
  layers = [convolution(3, channels, 3)]
  for block, size in enumerate(sizes):
    if block > 0:
      halved = channels // 2
      layers += [nn.BatchNorm2d(channels), nn.ReLU(), convolution(channels, halved, 1)]
      layers += [nn.AvgPool2d(2)]
      channels = halved
    for _ in range(size):
      layers.append(Dense(channels, growth))
      channels += growth
  return Network([*layers, nn.BatchNorm2d(channels), nn.ReLU()], head(channels))


NETWORKS = {
  "densenet_bc_100": functools.partial(densenet, sizes=(16, 16, 16), growth=12),
  "resnet34": functools.partial(resnet, sizes=(3, 4, 6, 3), widths=(64, 128, 256, 512)),
  "resnet_small": functools.partial(resnet, sizes=(1, 1, 1), widths=(24, 48, 96)),
}
HEADS = {"isomax": IsoMax, "softmax": nn.Linear}


def sgd(network: nn.Module, *, learning_rate: float = 0.1) -> torch.optim.SGD:
  """Return the paper's optimiser, which decays every parameter."""
  parameters = list(network.parameters())
  return torch.optim.SGD(
    parameters,
    lr=learning_rate,
    momentum=0.9,
    nesterov=True,
    weight_decay=1e-4,
    fused=parameters[0].device.type == "cuda",
  )


class Setting(NamedTuple):
  """How PyTorch is used.

  Attributes:
    channels_last: Whether channels are a tensor's fastest axis.
    mode: The mode of ``torch.compile``; None does without.
    only_on: The one kind of device that it is for, if it is not for all.
  """

  channels_last: bool
  mode: str | None = None
  only_on: str | None = None


SETTINGS = {
  "eager": Setting(channels_last=False),
  "channels last": Setting(channels_last=True),
  "channels last, compiled": Setting(channels_last=True, mode="default"),
  "channels last, compiled, CUDA graphs": Setting(
    channels_last=True, mode="reduce-overhead", only_on="cuda"
  ),
}


class Training:
  """Steps of SGD on images that stay on the device."""

  def __init__(
    self,
    model_name: str,
    setting: Setting,
    *,
    head: str,
    bfloat16: bool,
    batch_size: int,
    augmented: bool,
    images: np.ndarray,
    labels: np.ndarray,
    device: str,
  ):
    """Make the network and put the images on the device.

    Args:
      model_name: A key of ``NETWORKS``.
      setting: How PyTorch is used.
      head: A key of ``HEADS``.
      bfloat16: Whether the convolutions compute in bfloat16, by autocast.
      batch_size: Images a step.
      augmented: Whether each step draws, crops, flips and normalises images of its own; otherwise
        all steps take the first ones, normalised beforehand.
      images: Images, shape ``[n, height, width, 3]``, uint8.
      labels: Class indices, shape ``[n]``.
      device: ``"cpu"`` or ``"cuda"``.
    """
    torch.manual_seed(0)
    self._scale, self._bfloat16, self._batch_size = ENTROPIC_SCALE[head], bfloat16, batch_size
    self._channels_last, self._augmented = setting.channels_last, augmented
    self._device, self._side = device, images.shape[1]
    # The border of zeros is there beforehand, so that no step has to add it.
    border = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
    self._images = torch.tensor(np.pad(images, border), device=device)
    self._labels = torch.tensor(labels, dtype=torch.long, device=device)
    self._mean, self._deviation = (
      torch.tensor(value, device=device) for value in (MEAN, DEVIATION)
    )
    layout = torch.channels_last if setting.channels_last else torch.contiguous_format
    network = NETWORKS[model_name](lambda features: HEADS[head](features, CLASSES))
    self._network = network.to(device, memory_format=layout)
    self._forward = self._network
    if setting.mode is not None:
      self._forward = torch.compile(self._network, mode=setting.mode)
    self._optimizer = sgd(self._network)
    self._fixed = self._crop(torch.arange(batch_size, device=device), augmented=False)

  def run(self, steps: int) -> float:
    """Take steps, and return the last one's loss when it is there."""
    for _ in range(steps):
      loss = self._step()
    return loss.item()

  def _step(self) -> torch.Tensor:
    if self._augmented:
      chosen = torch.randint(len(self._labels), (self._batch_size,), device=self._device)
      images, labels = self._crop(chosen, augmented=True), self._labels[chosen]
    else:
      images, labels = self._fixed, self._labels[: self._batch_size]
    self._optimizer.zero_grad(set_to_none=True)
    with torch.autocast(self._device, torch.bfloat16, enabled=self._bfloat16):
      logits = self._forward(images)
    loss = functional.cross_entropy(self._scale * logits, labels)
    loss.backward()
    self._optimizer.step()
    return loss.detach()

  def _crop(self, chosen: torch.Tensor, *, augmented: bool) -> torch.Tensor:
    """Gather images and normalise them; augmented, each by an offset and a flip of its own."""
    across, size = torch.arange(self._side, device=self._device), (len(chosen), 1)
    rows = columns = (across + PADDING).expand(len(chosen), -1)
    if augmented:
      rows = torch.randint(2 * PADDING + 1, size, device=self._device) + across
      flip = torch.rand(size, device=self._device) < 0.5
      columns = torch.where(flip, self._side - 1 - across, across)
      columns = columns + torch.randint(2 * PADDING + 1, size, device=self._device)
    pixels = self._images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]] / 255
    images = ((pixels - self._mean) / self._deviation).permute(0, 3, 1, 2)
    return images if self._channels_last else images.contiguous()
