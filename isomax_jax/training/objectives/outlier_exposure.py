"""Outlier exposure: training towards uniform probabilities on a set of outliers."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.losses import outlier_exposure, scaled_cross_entropy
from isomax_jax.training.objectives.base import (
  APART,
  Losses,
  Network,
  Objective,
  ObjectiveConfig,
  Prepare,
)
from isomax_jax.typing import Batch, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutlierExposure(ObjectiveConfig):
  """Classification, and uniform probabilities for images of another set."""

  name: ClassVar[str] = "outlier_exposure"
  label: ClassVar[str] = "outlier exposure"

  outliers: str | None = None
  """Set of the outliers, maybe with classes; it is not unknown afterwards."""
  outlier_weight: float = 0.5
  """Weight of the outliers' loss."""

  def __post_init__(self):
    if self.outliers is None:
      raise ValueError(f"objective.outliers must name a set for {self.name}, got None")
    _checks.positive("objective.outlier_weight", self.outlier_weight)

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective; see :func:`exposure`."""
    return exposure(
      preprocessing.prepare, entropic_scale=entropic_scale, weight=self.outlier_weight
    )


def exposure(prepare: Prepare, *, entropic_scale: float, weight: float = 0.5) -> Objective:
  """Make the objective of outlier exposure: uniform probabilities for outliers.

  Known images and outliers share one forward pass, as in the authors' code, and so BatchNorm's
  statistics.

  Args:
    prepare: Augments and normalises; outliers too.
    entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.
    weight: Weight of the outliers' mean loss; the default is the authors'.

  Returns:
    The objective, for batches with outliers.

  Example:
    >>> from isomax_jax.typing import Outputs
    >>> objective = exposure(lambda key, batch: batch.images, entropic_scale=1.0)
    >>> network = Network(lambda x: (Outputs(logits=x, features=x), {}), infer=None)
    >>> batch = Batch(
    ...     jnp.zeros((1, 2)), jnp.array([1]), jnp.arange(1), outliers=jnp.zeros((3, 2)))
    >>> print(objective(network, jax.random.key(0), batch).values.round(4))  # 1.5 log 2
    [1.0397]

  References:
    Hendrycks et al., *Deep Anomaly Detection with Outlier Exposure*.
  """
  _checks.positive("weight", weight)

  def objective(network: Network, key: jax.Array, batch: Batch) -> Losses:
    known = len(batch.labels)
    outliers = batch._replace(images=batch.outliers, outliers=None)
    inputs = [prepare(key, batch), prepare(jax.random.fold_in(key, APART), outliers)]
    outputs, batch_stats = network.train(jnp.concatenate(inputs))
    logits, outlier_logits = outputs.logits[:known], outputs.logits[known:]
    values = scaled_cross_entropy(logits, batch.labels, entropic_scale=entropic_scale)
    penalty = jnp.mean(outlier_exposure(outlier_logits, entropic_scale=entropic_scale))
    return Losses(values + weight * penalty, logits, batch.labels, batch_stats)

  return objective
