"""DisMax's objective: fractional probability regularisation."""

import dataclasses
from typing import ClassVar

import jax

from isomax_jax.losses import scaled_divergence
from isomax_jax.training.objectives._mosaics import GROUP, is_plain, make_mosaics, mosaic_targets
from isomax_jax.training.objectives.base import Losses, Network, Objective, ObjectiveConfig, Prepare
from isomax_jax.typing import Batch, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class FractionalProbability(ObjectiveConfig):
  """Fractional probability regularisation, as DisMax trains; no options."""

  name: ClassVar[str] = "fractional_probability"
  label: ClassVar[str] = "fractional probability"
  rows: ClassVar[int] = GROUP

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective; see :func:`fractional_probability`."""
    return fractional_probability(preprocessing.prepare, entropic_scale=entropic_scale)


def fractional_probability(prepare: Prepare, *, entropic_scale: float) -> Objective:
  """Make DisMax's objective: half of the batch as it is, half as mosaics of four images.

  The loss is the scaled divergence from the targets: all to the label of an image, a quarter to
  that of each quadrant of a mosaic. Accuracy is measured on the images without mosaics.

  Args:
    prepare: Augments and normalises.
    entropic_scale: The paper's :math:`E_s`.

  Returns:
    The objective. Each device's share of the batch must be a multiple of eight.

  Example:
    >>> import jax.numpy as jnp
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
