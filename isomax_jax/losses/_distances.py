"""Euclidean distances to prototypes: matmul speed, direct-difference accuracy where it matters."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from isomax_jax import _checks
from isomax_jax.typing import Features, Prototypes

# A float32 matmul gives |f|² + |p|² - 2 f·p within about this fraction of |f|² + |p|².
_RESOLUTION = 1e-6
# Where the squared distance is a smaller fraction than this, the distance may miss 1e-5 relative.
_WELL_CONDITIONED = 0.05


def pairwise_distance(features: Features, prototypes: Prototypes) -> Float[Array, "*batch classes"]:
  r"""Compute the Euclidean distance of each feature vector to each prototype.

  .. math:: d_j = \lVert f - p_j \rVert

  The two nearest prototypes of each row are within 1e-5 relative. Every other distance is
  within :math:`10^{-6} (\lVert f - c \rVert^2 + \lVert p_j - c \rVert^2) / d_j` absolute,
  :math:`c` being the mean prototype. (Rounding that points one way throughout, as in vectors of
  thousands of equal components, can cost several times that.) All matrix products run at the
  highest precision, whatever the default. The gradient is :math:`(f - p_j) / d_j` with that
  distance and a difference within
  :math:`10^{-6} (\lVert f - c \rVert + \lVert p_j - c \rVert)`; at :math:`f = p_j`, where the
  norm has none, it is zero.

  Args:
    features: Feature vectors, shape ``[..., features]``, floating.
    prototypes: One prototype a class, shape ``[classes, features]``, floating.

  Returns:
    Distances, shape ``[..., classes]``; at least float32.

  Raises:
    TypeError: If an argument is not floating.
    ValueError: If the shapes do not fit together.

  Example:
    >>> import jax.numpy as jnp
    >>> prototypes = jnp.array([[0.0, 0.0], [3.0, 0.0]])
    >>> print(pairwise_distance(jnp.array([0.0, 4.0]), prototypes))
    [4. 5.]
  """
  features, prototypes = checked_vectors(features, prototypes)
  rows = features.reshape(math.prod(features.shape[:-1]), features.shape[-1])
  distances = _distances(rows, prototypes)
  return distances.reshape(*features.shape[:-1], prototypes.shape[0])


def checked_vectors(features: Features, prototypes: Prototypes) -> tuple[jax.Array, jax.Array]:
  """Return both in one dtype, at least float32; raise unless their shapes fit together."""
  features = _checks.floating("features", features)
  prototypes = _checks.floating("prototypes", prototypes)
  if prototypes.ndim != 2 or prototypes.shape[0] < 1:
    raise ValueError(
      f"prototypes must have shape [classes, features] with a class or more, got {prototypes.shape}"
    )
  if features.ndim < 1 or features.shape[-1] != prototypes.shape[-1]:
    raise ValueError(
      f"features must have shape [..., {prototypes.shape[-1]}] to fit prototypes of shape "
      f"{prototypes.shape}, got {features.shape}"
    )
  dtype = np.promote_types(features.dtype, prototypes.dtype)
  return features.astype(dtype), prototypes.astype(dtype)


@jax.custom_jvp
@jax.jit  # or each call outside jit compiles the loop anew
def _distances(features: jax.Array, prototypes: jax.Array) -> jax.Array:
  """Return distances ``[rows, classes]`` of ``[rows, features]`` to ``[classes, features]``."""
  f, q = _centre(features, prototypes)
  products = jnp.matmul(f, q.T, precision=lax.Precision.HIGHEST)
  squares = _squares(f)[:, None], _squares(q)[None, :]
  squared = jnp.maximum(2 * products + squares[0] + squares[1], 0)
  return _refine_nearest(squared, squares, features, prototypes)


@_distances.defjvp
def _distances_jvp(primals, tangents):
  # Two matmuls forward and, transposed, two backward: with w = g / d the cotangent of f is
  # f Σ_j w_j + w q. Differencing every pair instead takes a [rows, classes, features] array.
  features_dot, prototypes_dot = tangents
  distances = _distances(*primals)
  f, q = _centre(*primals)
  f_dot, q_dot = features_dot, -prototypes_dot
  along = (
    jnp.sum(f * f_dot, axis=-1)[:, None]
    + jnp.sum(q * q_dot, axis=-1)[None, :]
    + jnp.matmul(f_dot, q.T, precision=lax.Precision.HIGHEST)
    + jnp.matmul(f, q_dot.T, precision=lax.Precision.HIGHEST)
  )
  # The inner `where` keeps derivatives of the division finite in the branch that is not taken.
  positive = distances > 0
  inverse = jnp.where(positive, 1 / jnp.where(positive, distances, 1), 0)
  return distances, inverse * along


def _centre(features: jax.Array, prototypes: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return ``f - c`` and ``c - p``, whose sum is the difference; ``c`` is the mean prototype.

  Distances do not change, and a far-off cluster does not cancel. With this sign of the second
  no product below is subtracted, so that no negated copy of ``[rows, classes]`` is made.
  """
  centre = lax.stop_gradient(jnp.mean(prototypes, axis=0, keepdims=True))
  return features - centre, centre - prototypes


def _squares(vectors: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(vectors), axis=-1)


def _refine_nearest(
  squared: jax.Array,
  squares: tuple[jax.Array, jax.Array],
  features: jax.Array,
  prototypes: jax.Array,
) -> jax.Array:
  """Return distances, those that cancelled and may be a row's two nearest by direct difference.

  One pass differences one prototype a row. Features that keep their distance, the usual case,
  need no pass; one that sits on a prototype needs one; twins need one each.
  """
  classes = jnp.arange(prototypes.shape[0])[None, :]

  def lower_bound(distances):
    return jnp.square(distances) - _RESOLUTION * squares[0] - _RESOLUTION * squares[1]

  def unfinished(carry):
    return carry[-1]

  def refine(carry):
    distances, nearest, second, _ = carry
    # A row that has nothing left takes its first prototype, which does no harm.
    chosen = jnp.argmin(jnp.where(distances < 0, lower_bound(distances), jnp.inf), axis=-1)
    # The original vectors: centred ones have been rounded, by more than a small distance bears.
    direct = _squares(features - prototypes[chosen])
    second = jnp.minimum(second, jnp.maximum(nearest, direct))
    nearest = jnp.minimum(nearest, direct)
    # What lies above two refined distances for certain is not among the two nearest.
    beyond = lower_bound(distances) > second[:, None]
    distances = jnp.where(beyond, jnp.abs(distances), distances)
    distances = jnp.where(classes == chosen[:, None], jnp.sqrt(direct)[:, None], distances)
    return distances, nearest, second, jnp.any(distances < 0)

  # A minus marks what cancelled and is yet to be settled, which saves a mask; so it must not be 0.
  cancelled = squared < _WELL_CONDITIONED * squares[0] + _WELL_CONDITIONED * squares[1]
  distances = jnp.sqrt(squared)
  distances = jnp.where(cancelled, -jnp.maximum(distances, 1e-19), distances)
  unknown = jnp.full_like(distances[:, 0], jnp.inf)
  carry = distances, unknown, unknown, jnp.any(distances < 0)
  return lax.while_loop(unfinished, refine, carry)[0]
