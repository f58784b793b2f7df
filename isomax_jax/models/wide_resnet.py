"""Wide residual networks for images of 32×32 pixels, with pre-activation blocks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from isomax_jax.models._layers import Layer, make_layers, spatial_mean
from isomax_jax.typing import Images, Outputs


class PreActivationBlock(nn.Module):
  """Two 3×3 convolutions after BatchNorm and ReLU, the first strided, and a shortcut.

  Where the shape changes, the shortcut is projected from the first activations. ``convolution`` and
  ``norm`` are those of :func:`make_layers`.
  """

  width: int
  stride: int
  convolution: Layer
  norm: Layer

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Return the block's sum, shape ``[batch, height / stride, width / stride, width]``."""
    activations = nn.relu(self.norm()(x))
    y = self.convolution(self.width, stride=self.stride)(activations)
    y = self.convolution(self.width)(nn.relu(self.norm()(y)))
    if x.shape != y.shape:
      x = self.convolution(self.width, size=1, stride=self.stride)(activations)
    return x + y


class WideResNet(nn.Module):
  """A 3×3 stem of 16 channels, three stages of residual blocks, global average, head.

  Attributes:
    head: Module that maps features to logits.
    stage_size: Number of blocks a stage.
    widening: Factor of the stages' 16, 32 and 64 channels.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which training statistics are averaged, if any.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from isomax_jax.heads import IsoMaxHead
    >>> model = WideResNet(IsoMaxHead(10), stage_size=1, widening=2)
    >>> images = jnp.zeros((5, 32, 32, 3))
    >>> outputs, variables = jax.eval_shape(
    ...     lambda: model.init_with_output(jax.random.key(0), images, train=False))
    >>> outputs.logits.shape, [stage.shape for stage in outputs.stages]
    ((5, 10), [(5, 16), (5, 32), (5, 64), (5, 128)])

  References:
    Zagoruyko and Komodakis, *Wide Residual Networks*, 2016; no dropout.
  """

  head: nn.Module
  stage_size: int
  widening: int
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: Images, *, train: bool) -> Outputs[jax.Array]:
    """Return logits, features and the means of the stem, two stages and the last maps."""
    convolution, norm = make_layers(train=train, dtype=self.dtype, axis_name=self.axis_name)
    x = convolution(16)(images.astype(self.dtype))
    stages = []
    for stage, width in enumerate((16, 32, 64)):
      stages.append(spatial_mean(x))
      for block in range(self.stage_size):
        stride = 2 if stage > 0 and block == 0 else 1
        x = PreActivationBlock(width * self.widening, stride, convolution, norm)(x)
    features = spatial_mean(nn.relu(norm()(x)))
    return Outputs(self.head(features), features, (*stages, features))


# 28 layers: 36.5 M parameters, 5.24 G multiply-adds.
WideResNet28x10 = partial(WideResNet, stage_size=4, widening=10)
