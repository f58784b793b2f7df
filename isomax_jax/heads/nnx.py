"""The heads of :mod:`isomax_jax.heads` as Flax NNX modules: same names, parameters and numbers.

As with ``nnx.Linear``, the number of features comes first, since NNX creates parameters at once.
``rngs`` gives the initial kernel or prototypes.

Example:
  >>> head = IsoMaxHead(64, 10, rngs=nnx.Rngs(0))
  >>> head(jnp.ones((8, 64))).shape
  (8, 10)
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from isomax_jax import _checks
from isomax_jax.losses import dismax_logits, isomax_logits, isomax_plus_logits
from isomax_jax.typing import FeaturesLike, Logits


class SoftmaxHead(nnx.Module):
  """The affine head: :math:`L = f W + b`."""

  def __init__(self, num_features: int, num_classes: int, *, rngs: nnx.Rngs):
    bound = num_features**-0.5
    shape = (num_features, num_classes)
    self.kernel = nnx.Param(jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound))
    self.bias = nnx.Param(jnp.zeros(num_classes))

  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    features = _checks.floating("features", features)
    logits = jnp.matmul(features, self.kernel[...], precision=lax.Precision.HIGHEST)
    return logits + jnp.broadcast_to(self.bias[...], logits.shape)


class IsoMaxHead(nnx.Module):
  r"""The IsoMax head: :math:`L_j = -\lVert f - p_j \rVert`."""

  def __init__(self, num_features: int, num_classes: int, *, rngs: nnx.Rngs):
    del rngs  # Prototypes start at zero; taken so that heads are interchangeable.
    self.prototypes = nnx.Param(jnp.zeros((num_classes, num_features)))

  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    return isomax_logits(features, self.prototypes[...])


class IsoMaxPlusHead(nnx.Module):
  """The IsoMax+ head: negative scaled distances on the unit sphere."""

  def __init__(self, num_features: int, num_classes: int, *, rngs: nnx.Rngs):
    self.prototypes = nnx.Param(jax.random.normal(rngs.params(), (num_classes, num_features)))
    self.distance_scale = nnx.Param(jnp.ones(()))

  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    return isomax_plus_logits(features, self.prototypes[...], self.distance_scale[...])


class DisMaxHead(nnx.Module):
  """The DisMax head: IsoMax+ distances plus their mean over the classes."""

  def __init__(self, num_features: int, num_classes: int, *, rngs: nnx.Rngs):
    self.prototypes = nnx.Param(jax.random.normal(rngs.params(), (num_classes, num_features)))
    self.distance_scale = nnx.Param(jnp.ones(()))

  def __call__(self, features: FeaturesLike) -> Logits:
    """Return logits, shape ``[..., classes]``, float32."""
    return dismax_logits(features, self.prototypes[...], self.distance_scale[...])
