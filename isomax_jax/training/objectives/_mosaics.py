"""Mosaics of four images, for fractional probability regularisation.

Of every eight consecutive rows of a batch, the first four stay as they are and the last four become
mosaics of each other. DisMax's authors keep the first half of the whole batch; groups give the same
mixture, and the same numbers however a batch is spread over devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from isomax_jax.typing import Labels

GROUP = 8
"""Rows of a group: four images as they are, four mosaics of four images each."""
_PLAIN = 4


def make_mosaics(
  images: Num[Array, "batch height width channels"],
) -> Num[Array, "batch height width channels"]:
  """Turn half of a batch, which must be in random order, into mosaics.

  Each of four rows keeps its top left quadrant; its bottom left, top right and bottom right ones
  come from the first, second and third row before it, cyclically.

  Example:
    >>> images = jnp.broadcast_to(jnp.arange(8).reshape(8, 1, 1, 1), (8, 2, 2, 1))
    >>> print(make_mosaics(images)[4, :, :, 0])
    [[4 6]
     [7 5]]

  References:
    Macêdo et al., *Distinction Maximization Loss*, Section 3.2.
  """
  images = jnp.asarray(images)
  groups = _grouped(images)
  mosaics = groups[:, _PLAIN:]
  middle_row, middle_column = images.shape[1] // 2, images.shape[2] // 2
  for shift, rows, columns in (
    (1, slice(middle_row, None), slice(middle_column)),
    (2, slice(middle_row), slice(middle_column, None)),
    (3, slice(middle_row, None), slice(middle_column, None)),
  ):
    quadrants = jnp.roll(mosaics[:, :, rows, columns], shift, axis=1)
    mosaics = mosaics.at[:, :, rows, columns].set(quadrants)
  return groups.at[:, _PLAIN:].set(mosaics).reshape(images.shape)


def mosaic_targets(labels: Labels, *, num_classes: int) -> Float[Array, "batch classes"]:
  """Return the target distributions of :func:`make_mosaics`, from the labels before it.

  All to the label of an image, a quarter to that of each quadrant of a mosaic; NaN where a label is
  out of range.
  """
  in_range = (labels >= 0) & (labels < num_classes)
  known = jnp.where(in_range[:, None], jax.nn.one_hot(labels, num_classes), jnp.nan)
  groups = _grouped(known)
  mixed = jnp.mean(groups[:, _PLAIN:], axis=1, keepdims=True)
  mixed = jnp.broadcast_to(mixed, groups[:, _PLAIN:].shape)
  return groups.at[:, _PLAIN:].set(mixed).reshape(known.shape)


def is_plain(batch: int) -> np.ndarray:
  """Return which rows of a batch :func:`make_mosaics` leaves as they are, booleans ``[batch]``."""
  return np.arange(batch) % GROUP < _PLAIN


def _grouped(array: jax.Array) -> jax.Array:
  if array.shape[0] % GROUP:
    raise ValueError(
      f"a batch, or a device's part of it, must be a multiple of {GROUP} rows for mosaics, got "
      f"{array.shape[0]}"
    )
  return array.reshape(-1, GROUP, *array.shape[1:])
