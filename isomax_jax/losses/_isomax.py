"""Distance logits: IsoMax and IsoMax+."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from isomax_jax import _checks
from isomax_jax.losses._distances import checked_vectors, pairwise_distance
from isomax_jax.typing import FeaturesLike, Logits, PrototypesLike, ScalarLike


def isomax_logits(features: FeaturesLike, prototypes: PrototypesLike) -> Logits:
  r"""Compute IsoMax logits: the negative distance to each class's prototype.

  .. math:: L_j = -\lVert f - p_j \rVert

  The distance is not squared; for its accuracy and range see :func:`pairwise_distance`. Prototypes
  are ordinary parameters that start at zero.

  Args:
    features: Feature vectors, shape ``[..., features]``, floating.
    prototypes: One prototype a class, shape ``[classes, features]``, floating.

  Returns:
    Logits, shape ``[..., classes]``; at least float32.

  Raises:
    TypeError: If an argument is not floating.
    ValueError: If the shapes do not fit together.

  Example:
    >>> import jax.numpy as jnp
    >>> print(isomax_logits(jnp.array([0.0, 4.0]), jnp.array([[0.0, 0.0], [3.0, 0.0]])))
    [-4. -5.]

  References:
    Macêdo et al., *Isotropy Maximization Loss and Entropic Score*, Section 3.1.
  """
  return -pairwise_distance(features, prototypes)


def isomax_plus_logits(
  features: FeaturesLike, prototypes: PrototypesLike, distance_scale: ScalarLike
) -> Logits:
  r"""Compute IsoMax+ logits: negative scaled distances on the unit sphere.

  .. math:: L_j = -|s| \, \lVert f / \lVert f \rVert - p_j / \lVert p_j \rVert \rVert

  A zero vector normalises to zero, with a finite gradient.

  Args:
    features: Feature vectors, shape ``[..., features]``, floating.
    prototypes: One prototype a class, shape ``[classes, features]``, floating.
    distance_scale: The learned scale :math:`s`, a scalar; starts at 1.

  Returns:
    Logits, shape ``[..., classes]``; at least float32.

  Raises:
    TypeError: If an argument is not floating.
    ValueError: If the shapes do not fit together.

  Example:
    >>> import jax.numpy as jnp
    >>> prototypes = jnp.array([[2.0, 0.0], [-5.0, 0.0]])
    >>> print(isomax_plus_logits(jnp.array([3.0, 0.0]), prototypes, 1.0))
    [-0. -2.]

  References:
    Macêdo and Ludermir, *Enhanced Isotropy Maximization Loss: Seamless and High-Performance
    Out-of-Distribution Detection Simply Replacing the SoftMax Loss*.
  """
  return -scaled_cosine_distance(features, prototypes, distance_scale)


def scaled_cosine_distance(
  features: FeaturesLike, prototypes: PrototypesLike, distance_scale: ScalarLike
) -> Float[Array, "*batch classes"]:
  """Compute the distances between normalised vectors, times the magnitude of the scale."""
  scale = jnp.asarray(distance_scale)
  _checks.same_shape("distance_scale", scale.shape, ())
  features, prototypes = checked_vectors(features, prototypes)
  distances = pairwise_distance(_normalize(features), _normalize(prototypes))
  return jnp.abs(scale).astype(distances.dtype) * distances


def _normalize(vectors: jax.Array) -> jax.Array:
  """Divide by the norm; zero rows stay zero."""
  # Dividing by the largest magnitude first keeps the squares of 1e-30 or 1e30 in range.
  if vectors.shape[-1] == 0:
    return vectors  # An empty axis has no maximum.
  largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True))
  nonzero = largest != 0  # true of NaN, which must not turn into zero
  vectors = vectors / jnp.where(nonzero, largest, 1)
  squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
  # sqrt has no finite derivative at 0: hand it 1 there, in the branch that is not taken.
  return jnp.where(nonzero, vectors / jnp.sqrt(jnp.where(nonzero, squared, 1)), 0)
