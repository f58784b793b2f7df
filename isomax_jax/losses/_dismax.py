"""DisMax logits."""

import jax.numpy as jnp

from isomax_jax.losses._isomax import scaled_cosine_distance
from isomax_jax.typing import FeaturesLike, Logits, PrototypesLike, ScalarLike


def dismax_logits(
  features: FeaturesLike, prototypes: PrototypesLike, distance_scale: ScalarLike
) -> Logits:
  r"""Compute DisMax logits: the negative sum of each distance and the mean over all classes.

  .. math::
    D_j = |s| \, \lVert f / \lVert f \rVert - p_j / \lVert p_j \rVert \rVert / \sqrt 2, \qquad
    L_j = -(D_j + \tfrac 1 C \textstyle\sum_k D_k)

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
    >>> print(dismax_logits(jnp.array([3.0, 0.0]), prototypes, 1.0).round(3))
    [-0.707 -2.121]

  References:
    Macêdo et al., *Distinction Maximization Loss: Efficiently Improving Out-of-Distribution
    Detection and Uncertainty Estimation by Replacing the Loss and Calibrating*.
  """
  distances = scaled_cosine_distance(features, prototypes, distance_scale) / jnp.sqrt(2.0)
  return -(distances + jnp.mean(distances, axis=-1, keepdims=True))
