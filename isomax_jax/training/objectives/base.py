"""The interface of an objective: a function of network, random key and batch, and its options."""

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax

from isomax_jax.typing import Batch, Outputs, Preprocessing

Prepare = Callable[[jax.Array, Batch[jax.Array]], jax.Array]
"""Random key and stored batch to the network's input: augmented and normalised."""


class Network(NamedTuple):
  """The network of a step, with its parameters bound.

  Attributes:
    train: Inputs, shape ``[examples, height, width, channels]``, to outputs and the new running
      statistics. BatchNorm takes its statistics from all inputs of the call.
    infer: Inputs to outputs, by the running statistics; no gradient reaches the parameters.
  """

  train: Callable[[jax.Array], tuple[Outputs[jax.Array], Any]]
  infer: Callable[[jax.Array], Outputs[jax.Array]]


class Losses(NamedTuple):
  """What an objective returns for a batch.

  Attributes:
    values: Losses, shape ``[examples]``; their mean is minimised.
    logits: Logits of the unmixed labelled images, shape ``[labelled, classes]``, for accuracy and
      entropy.
    labels: Their labels, shape ``[labelled]``.
    batch_stats: The new running statistics.
  """

  values: jax.Array
  logits: jax.Array
  labels: jax.Array
  batch_stats: Any


Objective = Callable[[Network, jax.Array, Batch[jax.Array]], Losses]

APART = 2**32 - 1
"""Folded into a key for draws beside the batch's own, which fold in positions: none is as high."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(abc.ABC):
  """The options of an objective: each objective has a subclass.

  Its fields are the options, each with a default, a docstring, and a name that no other objective
  uses.

  Attributes:
    name: Name in configs and records.
    label: Name in tables and figures.
    rows: What a device's share of a batch must be a multiple of.
    outliers: Reference of the set whose images batches carry as outliers; None for none.
  """

  name: ClassVar[str]
  label: ClassVar[str]
  rows: ClassVar[int] = 1
  if TYPE_CHECKING:
    outliers: str | None = dataclasses.field(default=None, init=False)
  else:
    outliers = None  # No field, so that only those that declare it have such an option.

  @abc.abstractmethod
  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective.

    Args:
      preprocessing: How stored examples become the network's input.
      entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.
    """
