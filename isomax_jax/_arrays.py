"""Array operations that keep explicit shardings and that exported programs can run."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AxisType


def add_leading_axes(array: jax.Array, ndim: int) -> jax.Array:
  """Return ``array`` with axes of size 1 in front, until there are ``ndim``."""
  return lax.expand_dims(array, range(ndim - array.ndim))


def is_class(indices: jax.Array, num_classes: int) -> jax.Array:
  """Return one-hot indices, shape ``[..., classes]``, boolean; all False for one out of range."""
  classes = jnp.arange(num_classes, dtype=indices.dtype)
  return indices[..., None] == add_leading_axes(classes, indices.ndim + 1)


def value_of_class(array: jax.Array, indices: jax.Array) -> jax.Array:
  """Return each row's value at its index, shape ``[...]``; any value for one out of range."""
  if is_explicitly_sharded(array, indices):
    # A gather would have to be told its sharding, and cannot take from sharded classes.
    return jnp.sum(jnp.where(is_class(indices, array.shape[-1]), array, 0), axis=-1)
  return jnp.take_along_axis(array, indices[..., None], axis=-1, mode="clip")[..., 0]


def is_explicitly_sharded(*arrays: jax.Array) -> bool:
  """Return whether one of the arrays lies on a mesh with explicit axes."""
  meshes = (jax.typeof(array).sharding.mesh for array in arrays)
  return any(AxisType.Explicit in mesh.axis_types for mesh in meshes)
