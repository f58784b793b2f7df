"""Densely connected networks for images of 32×32 pixels."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from isomax_jax.models._layers import Layer, make_layers, spatial_mean
from isomax_jax.typing import Images, Outputs


class BottleneckLayer(nn.Module):
  """Concatenate ``growth_rate`` new channels, by a 1×1 convolution to four times as many and a 3×3.

  ``convolution`` and ``norm`` are those of :func:`make_layers`.
  """

  growth_rate: int
  convolution: Layer
  norm: Layer

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Return activations of shape ``[batch, height, width, channels + growth_rate]``."""
    y = self.convolution(4 * self.growth_rate, size=1)(nn.relu(self.norm()(x)))
    y = self.convolution(self.growth_rate)(nn.relu(self.norm()(y)))
    return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
  """Halve height, width and the number of channels, rounded down."""

  convolution: Layer
  norm: Layer

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Return activations of shape ``[batch, height / 2, width / 2, channels / 2]``."""
    y = self.convolution(x.shape[-1] // 2, size=1)(nn.relu(self.norm()(x)))
    return nn.avg_pool(y, (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
  """A 3×3 stem, blocks of bottleneck layers with transitions between, global average, head.

  Attributes:
    head: Module that maps features to logits.
    block_sizes: Number of bottleneck layers, by block.
    growth_rate: Channels that each of them adds; the stem has twice as many.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which training statistics are averaged, if any.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from isomax_jax.heads import IsoMaxHead
    >>> model = DenseNet(IsoMaxHead(10), block_sizes=(1, 1), growth_rate=3)
    >>> images = jnp.zeros((5, 32, 32, 3))
    >>> outputs, variables = jax.eval_shape(
    ...     lambda: model.init_with_output(jax.random.key(0), images, train=False))
    >>> outputs.logits.shape, [stage.shape for stage in outputs.stages]
    ((5, 10), [(5, 6), (5, 4), (5, 7)])

  References:
    Huang et al., *Densely Connected Convolutional Networks*, 2017 (DenseNet-BC).
  """

  head: nn.Module
  block_sizes: tuple[int, ...]
  growth_rate: int
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: Images, *, train: bool) -> Outputs[jax.Array]:
    """Return logits, features and the means of the stem, each transition and the last maps."""
    convolution, norm = make_layers(train=train, dtype=self.dtype, axis_name=self.axis_name)
    x = convolution(2 * self.growth_rate)(images.astype(self.dtype))
    stages = [spatial_mean(x)]
    for block, size in enumerate(self.block_sizes):
      if block > 0:
        x = Transition(convolution, norm)(x)
        stages.append(spatial_mean(x))
      for _ in range(size):
        x = BottleneckLayer(self.growth_rate, convolution, norm)(x)
    features = spatial_mean(nn.relu(norm()(x)))
    return Outputs(self.head(features), features, (*stages, features))


# 100 layers: 769 k parameters, 288 M multiply-adds.
DenseNetBC100 = partial(DenseNet, block_sizes=(16, 16, 16), growth_rate=12)
