"""DisMax's objective: fractional probability regularisation."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from isomax_jax.losses import scaled_divergence
from isomax_jax.training.objectives.base import Losses, Network, Objective, ObjectiveConfig, Prepare
from isomax_jax.typing import Batch, Labels, Preprocessing

# Rows of a group: images, and as many mosaics of four images each.
_GROUP, _PLAIN = 8, 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class FractionalProbability(ObjectiveConfig):
  """Fractional probability regularisation, as DisMax trains; no options."""

  name: ClassVar[str] = "fractional_probability"
  label: ClassVar[str] = "fractional probability"
  rows: ClassVar[int] = _GROUP

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective; see :func:`fractional_probability`."""
    return fractional_probability(preprocessing.prepare, entropic_scale=entropic_scale)


def fractional_probability(prepare: Prepare, *, entropic_scale: float) -> Objective:
  """Make DisMax's objective: half of the batch as it is, half as mosaics of four images.

  Of every eight consecutive rows of a batch, the first four stay as they are and the last four
  become mosaics of each other. DisMax's authors keep the first half of the whole batch; groups give
  the same mixture, and the same numbers however a batch is spread over devices.

  The loss is the scaled divergence from the targets: all to the label of an image, a quarter to
  that of each quadrant of a mosaic. Accuracy is measured on the images without mosaics.

  Args:
    prepare: Augments and normalises.
    entropic_scale: The paper's :math:`E_s`.

  Returns:
    The objective. Each device's share of the batch must be a multiple of eight.

  Example:
    >>> from isomax_jax.typing import Outputs
    >>> objective = fractional_probability(lambda key, batch: batch.images, entropic_scale=10.0)
    >>> network = Network(lambda x: (Outputs(logits=x[:, 0, 0], features=x), {}), infer=None)
    >>> batch = Batch(jnp.zeros((8, 1, 1, 2)), jnp.arange(8) % 2, positions=jnp.arange(8))
    >>> losses = objective(network, None, batch)
    >>> print(losses.values.round(4), losses.labels)
    [0.6931 0.6931 0.6931 0.6931 0.     0.     0.     0.    ] [0 1 0 1]

  References:
    Macêdo et al., *Distinction Maximization Loss*, Section 3.2.
  """

  def objective(network: Network, key: jax.Array, batch: Batch) -> Losses:
    outputs, batch_stats = network.train(make_mosaics(prepare(key, batch)))
    targets = mosaic_targets(batch.labels, num_classes=outputs.logits.shape[-1])
    values = scaled_divergence(outputs.logits, targets, entropic_scale=entropic_scale)
    plain = is_plain(len(batch.labels))
    return Losses(values, outputs.logits[plain], batch.labels[plain], batch_stats)

  return objective


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
  return groups.at[:, _PLAIN:].set(mixed).reshape(known.shape)


def is_plain(batch: int) -> np.ndarray:
  """Return which rows of a batch :func:`make_mosaics` leaves as they are, booleans ``[batch]``."""
  return np.arange(batch) % _GROUP < _PLAIN


def _grouped(array: jax.Array) -> jax.Array:
  if array.shape[0] % _GROUP:
    raise ValueError(
      f"a batch, or a device's part of it, must be a multiple of {_GROUP} rows for mosaics, got "
      f"{array.shape[0]}"
    )
  return array.reshape(-1, _GROUP, *array.shape[1:])
