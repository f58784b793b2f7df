"""The direction in which perturbed inputs move."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from isomax_jax import _checks


def gradient_sign(loss: Callable[[jax.Array], jax.Array], images: jax.Array) -> jax.Array:
  """Return the sign of the gradient of each image's loss by its pixels, with +1 for zero.

  A loss is the function of its own image alone, so the gradient of their sum holds each one's.
  Zero counts as positive where the authors of the methods compare with ``>= 0``; NaN stays NaN.

  Args:
    loss: Images, shape ``[batch, ...]``, to losses, shape ``[batch]``.
    images: Pixels of [0, 1], shape ``[batch, ...]``, floating.

  Returns:
    Signs, of the images' shape.

  Raises:
    TypeError: If the images are not floating.

  Example:
    >>> print(gradient_sign(lambda x: jnp.sum(x * x, axis=-1), jnp.array([[0.5, -2.0, 0.0]])))
    [[ 1. -1.  1.]]
  """
  images = _checks.floating("images", images)
  gradient = jax.grad(lambda images: jnp.sum(loss(images)))(images)
  return jnp.where(gradient == 0, jnp.ones_like(gradient), jnp.sign(gradient))
