"""The classification objective: scaled cross-entropy."""

import dataclasses
from typing import ClassVar

import jax

from isomax_jax.losses import scaled_cross_entropy
from isomax_jax.training.objectives.base import Losses, Network, Objective, ObjectiveConfig, Prepare
from isomax_jax.typing import Batch, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(ObjectiveConfig):
  """The scaled cross-entropy; no options."""

  name: ClassVar[str] = "classification"
  label: ClassVar[str] = "classification"

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective; see :func:`classification`."""
    return classification(preprocessing.prepare, entropic_scale=entropic_scale)


def classification(prepare: Prepare, *, entropic_scale: float) -> Objective:
  """Make the objective of a classifier: the scaled cross-entropy.

  Args:
    prepare: Augments and normalises.
    entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> objective = classification(lambda key, batch: batch.images, entropic_scale=10.0)
    >>> network = Network(lambda x: (Outputs(logits=x, features=x), {}), infer=None)
    >>> batch = Batch(jnp.array([[-1.0, -1.0]]), jnp.array([1]), positions=jnp.array([0]))
    >>> print(objective(network, None, batch).values.round(4))
    [0.6931]
  """

  def objective(network: Network, key: jax.Array, batch: Batch) -> Losses:
    outputs, batch_stats = network.train(prepare(key, batch))
    values = scaled_cross_entropy(outputs.logits, batch.labels, entropic_scale=entropic_scale)
    return Losses(values, outputs.logits, batch.labels, batch_stats)

  return objective
