"""A network for small grey images on a CPU: six convolutions, 72.5 k parameters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from isomax_jax.models._layers import make_layers, spatial_mean
from isomax_jax.typing import Images, Outputs

# (width, stride) of each 3×3 convolution, by stage.
_STAGES = (((16, 2), (16, 2)), ((32, 1), (32, 2)), ((64, 1), (64, 1)))


class SmallCNN(nn.Module):
  """Convolution, BatchNorm, ReLU, six times; global average; head.

  Attributes:
    head: Module that maps features to logits.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which training statistics are averaged, if any.
  """

  head: nn.Module
  dtype: DTypeLike = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images: Images, *, train: bool) -> Outputs[jax.Array]:
    """Return logits, features ``[batch, 64]`` and the means of three stages, 16-32-64."""
    convolution, norm = make_layers(train=train, dtype=self.dtype, axis_name=self.axis_name)
    x = images.astype(self.dtype)
    stages = []
    for stage in _STAGES:
      for width, stride in stage:
        x = nn.relu(norm()(convolution(width, stride=stride)(x)))
      stages.append(spatial_mean(x))
    features = stages[-1]
    return Outputs(self.head(features), features, tuple(stages))
