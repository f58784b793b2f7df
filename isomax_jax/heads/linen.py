"""Heads as Flax Linen modules: features ``[..., features]`` to logits ``[..., classes]``.

Parameters and logits are float32, whatever the dtype of the network below, and products run at the
highest precision, whatever the default.

Example:
  >>> import jax
  >>> head = IsoMaxHead(num_classes=10)
  >>> variables = head.init(jax.random.key(0), jnp.ones((1, 64)))
  >>> head.apply(variables, jnp.ones((8, 64))).shape
  (8, 10)
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from isomax_jax import _checks
from isomax_jax.losses import dismax_logits, isomax_logits, isomax_plus_logits
from isomax_jax.typing import FeaturesLike, Logits


class SoftmaxHead(nn.Module):
  """The affine head: :math:`L = f W + b`."""

  num_classes: int

  @nn.compact
  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    features = _checks.floating("features", features)
    shape = (features.shape[-1], self.num_classes)
    # Uniform within 1 / sqrt(features), as the authors' linear layer starts.
    kernel = self.param(
      "kernel", nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), shape
    )
    bias = self.param("bias", nn.initializers.zeros, (self.num_classes,))
    logits = jnp.matmul(features, kernel, precision=lax.Precision.HIGHEST)
    return logits + jnp.broadcast_to(bias, logits.shape)


class IsoMaxHead(nn.Module):
  r"""The IsoMax head: :math:`L_j = -\lVert f - p_j \rVert`."""

  num_classes: int

  @nn.compact
  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    shape = (self.num_classes, features.shape[-1])
    prototypes = self.param("prototypes", nn.initializers.zeros, shape)
    return isomax_logits(features, prototypes)


class IsoMaxPlusHead(nn.Module):
  """The IsoMax+ head: negative scaled distances on the unit sphere."""

  num_classes: int

  @nn.compact
  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    shape = (self.num_classes, features.shape[-1])
    prototypes = self.param("prototypes", nn.initializers.normal(1.0), shape)
    distance_scale = self.param("distance_scale", nn.initializers.ones, ())
    return isomax_plus_logits(features, prototypes, distance_scale)


class DisMaxHead(nn.Module):
  """The DisMax head: IsoMax+ distances plus their mean over the classes."""

  num_classes: int

  @nn.compact
  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    shape = (self.num_classes, features.shape[-1])
    prototypes = self.param("prototypes", nn.initializers.normal(1.0), shape)
    distance_scale = self.param("distance_scale", nn.initializers.ones, ())
    return dismax_logits(features, prototypes, distance_scale)
