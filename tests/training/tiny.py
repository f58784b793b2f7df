"""A network small enough to compile in a second, and what trains it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from isomax_jax.heads import IsoMaxHead
from isomax_jax.typing import Outputs

CLASSES = 3
SHAPE = (6, 6, 1)


class TinyNetwork(nn.Module):
  """One convolution, BatchNorm, IsoMax head."""

  axis_name: str | None = None

  @nn.compact
  def __call__(self, images, *, train):
    x = nn.Conv(4, (3, 3), use_bias=False)(images)
    x = nn.relu(nn.BatchNorm(not train, momentum=0.9, axis_name=self.axis_name)(x))
    features = jnp.mean(x, axis=(1, 2))
    return Outputs(IsoMaxHead(CLASSES, name="head")(features), features)


def prepare(key, batch):
  """Noise by global position, so that a wrong key or position changes the numbers."""
  keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch.positions)
  noise = jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)
  return batch.images.astype(jnp.float32) / 255 + 0.1 * noise
