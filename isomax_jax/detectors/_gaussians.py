"""Gaussians with a tied covariance, whose distances keep their digits in float32."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isomax_jax import _checks
from isomax_jax.detectors._moments import Moments
from isomax_jax.losses import pairwise_distance
from isomax_jax.typing import AnyArray

# Directions whose variance is a smaller fraction of the widest one's: what float32 features and
# their products leave of them is rounding.
_RANK_TOLERANCE = 1e-10


class Projection(NamedTuple):
  """An affine map of features, ``(f - centre) @ matrix``, and the class means under it.

  The difference is exact for features near the centre, so that a spread of a hundred-thousandth of
  the mean keeps its digits in float32; and a distance in whitened coordinates loses to rounding by
  the root of the covariance's condition number, where one by the precision matrix loses by the
  number itself.
  """

  centre: jax.Array  # [features]
  matrix: jax.Array  # [features, dimensions]
  means: jax.Array  # [classes, dimensions]

  def project(self, features: AnyArray) -> jax.Array:
    """Return features ``[..., features]`` in the projection's coordinates."""
    features = _checks.floating("features", features)
    centred = features - jnp.broadcast_to(self.centre, features.shape)
    return jnp.matmul(centred, self.matrix, precision=lax.Precision.HIGHEST)

  def distances(self, projected: jax.Array) -> jax.Array:
    """Return the distances of projected features to the class means, ``[..., classes]``."""
    return pairwise_distance(projected, self.means)

  def smallest_square(self, projected: jax.Array) -> jax.Array:
    """Return the squared distance of projected features to the nearest class mean."""
    return jnp.square(jnp.min(self.distances(projected), axis=-1))


def whitening(moments: Moments, *, detector: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Return centre, whitening matrix ``[features, rank]`` and whitened class means, in float64.

  Distances between whitened vectors are Mahalanobis distances by the tied covariance's
  pseudo-inverse. Features that do not vary within any class raise ValueError.
  """
  variances, directions = np.linalg.eigh(moments.tied_covariance)
  # A constant's own rounding, from the sums of its mean, is no spread.
  if variances[-1] <= 1e-24 * np.square(moments.means).max():
    raise ValueError(
      f"{detector} needs features that vary within a class, got {moments.means.shape[1]} that are "
      f"constant in each of {len(moments.counts)} classes"
    )
  kept = variances > _RANK_TOLERANCE * variances[-1]
  matrix = directions[:, kept] / np.sqrt(variances[kept])
  centre = exact_mean(moments)
  return centre, matrix, (moments.means - centre) @ matrix


def exact_mean(moments: Moments) -> np.ndarray:
  """Return the mean of all vectors, rounded so that the parameters' dtype holds it exactly."""
  return moments.mean.astype(jnp.result_type(float)).astype(np.float64)


def parameter(array: np.ndarray | float) -> jax.Array:
  """Return an array in the dtype of parameters: float32, or float64 where JAX has it enabled."""
  return jnp.asarray(array, jnp.result_type(float))
