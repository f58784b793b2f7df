"""Residual networks for images of 32×32 pixels, with post-activation blocks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from isomax_jax.models._layers import Layer, make_layers, spatial_mean
from isomax_jax.typing import Images, Outputs


class BasicBlock(nn.Module):
  """Two 3×3 convolutions, the first strided, and a shortcut, projected where the shape changes.

  ``convolution`` and ``norm`` are those of :func:`make_layers`. With ``zero_init_residual`` the
  last scale before the sum starts at zero, so that at first the block is its shortcut.
  """

  width: int
  stride: int
  convolution: Layer
  norm: Layer
  zero_init_residual: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Return the block's activations, shape ``[batch, height / stride, width / stride, width]``."""
    y = nn.relu(self.norm()(self.convolution(self.width, stride=self.stride)(x)))
    start = nn.initializers.zeros if self.zero_init_residual else nn.initializers.ones
    y = self.norm(scale_init=start)(self.convolution(self.width)(y))
    if x.shape != y.shape:
      x = self.norm()(self.convolution(self.width, size=1, stride=self.stride)(x))
    return nn.relu(x + y)


class ResNet(nn.Module):
  """A 3×3 stem, stages of residual blocks, global average, head.

  There is no pooling after the stem, and every stage but the first halves height and width.

  Attributes:
    head: Module that maps features to logits.
    stage_sizes: Number of blocks, by stage.
    widths: Number of channels, by stage; the stem has the first stage's.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which training statistics are averaged, if any.
    zero_init_residual: Whether the last BatchNorm scale of every block starts at zero, not at one.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from isomax_jax.heads import IsoMaxHead
    >>> model = ResNet(IsoMaxHead(10), stage_sizes=(1, 1), widths=(4, 8))
    >>> images = jnp.zeros((5, 32, 32, 3))
    >>> outputs, variables = jax.eval_shape(
    ...     lambda: model.init_with_output(jax.random.key(0), images, train=False))
    >>> outputs.logits.shape, [stage.shape for stage in outputs.stages]
    ((5, 10), [(5, 4), (5, 4), (5, 8)])

  References:
    He et al., *Deep Residual Learning for Image Recognition*, 2016. The form for 32×32 images
    with the widths of the form for ImageNet is that of Lee et al., *A Simple Unified Framework
    for Detecting Out-of-Distribution Samples and Adversarial Attacks*, 2018. Scales of zero are
    from Goyal et al., *Accurate, Large Minibatch SGD*, 2017.
  """

  head: nn.Module
  stage_sizes: tuple[int, ...]
  widths: tuple[int, ...]
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None
  zero_init_residual: bool = False

  @nn.compact
  def __call__(self, images: Images, *, train: bool) -> Outputs[jax.Array]:
    """Return logits, features ``[batch, widths[-1]]`` and the means of the stem and each stage."""
    convolution, norm = make_layers(train=train, dtype=self.dtype, axis_name=self.axis_name)
    x = nn.relu(norm()(convolution(self.widths[0])(images.astype(self.dtype))))
    stages = [spatial_mean(x)]
    for stage, (size, width) in enumerate(zip(self.stage_sizes, self.widths, strict=True)):
      for block in range(size):
        stride = 2 if stage > 0 and block == 0 else 1
        x = BasicBlock(width, stride, convolution, norm, self.zero_init_residual)(x)
      stages.append(spatial_mean(x))
    features = stages[-1]
    return Outputs(self.head(features), features, tuple(stages))


# 21.3 M parameters, 1.16 G multiply-adds.
ResNet34 = partial(ResNet, stage_sizes=(3, 4, 6, 3), widths=(64, 128, 256, 512))
# For studies on a CPU: 174 k parameters, 27.8 M multiply-adds.
ResNetSmall = partial(ResNet, stage_sizes=(1, 1, 1), widths=(24, 48, 96))
