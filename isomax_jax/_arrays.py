"""Idioms that keep explicit shardings and that the runtimes of exported programs have."""

import jax
import jax.numpy as jnp
from jax import lax


def add_leading_axes(array: jax.Array, ndim: int) -> jax.Array:
  """Return ``array`` with axes of size 1 in front, until there are ``ndim``."""
  return lax.expand_dims(array, range(ndim - array.ndim))


def is_class(indices: jax.Array, num_classes: int) -> jax.Array:
  """Return where each class is the one indexed, shape ``[..., classes]``, boolean.

  An index outside ``0 .. num_classes - 1`` is no class.
  """
  classes = jnp.arange(num_classes, dtype=indices.dtype)
  return indices[..., None] == add_leading_axes(classes, indices.ndim + 1)
