"""What an objective is: a function of a network, a random key and a batch, and its options."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax

from isomax_jax.typing import Batch, Outputs, Preprocessing

Prepare = Callable[[jax.Array, Batch], jax.Array]
"""Random key and stored batch to the network's input: augmented and normalised."""


class Network(NamedTuple):
  """The network of a step, with its parameters bound.

  Attributes:
    train: Inputs, shape ``[examples, height, width, channels]``, to outputs and the new running
      statistics. BatchNorm takes its statistics from all inputs of the call.
    infer: Inputs to outputs, by the running statistics; no gradient reaches the parameters.
  """

  train: Callable[[jax.Array], tuple[Outputs, Any]]
  infer: Callable[[jax.Array], Outputs]


class Losses(NamedTuple):
  """What an objective gives for a batch.

  Attributes:
    values: Losses, shape ``[examples]``; their mean is minimised.
    logits: Logits of labelled images as they are, shape ``[labelled, classes]``: what accuracy
      and entropy are measured on.
    labels: Their labels, shape ``[labelled]``.
    batch_stats: The new running statistics.
  """

  values: jax.Array
  logits: jax.Array
  labels: jax.Array
  batch_stats: Any


Objective = Callable[[Network, jax.Array, Batch], Losses]

APART = 2**32 - 1
"""What keys are folded with that draw for examples which are not the batch's own. Those fold the
key with their positions, which never get so high."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(abc.ABC):
  """What training minimises, and its options; each objective has a class of its own.

  Its fields are the options, which have defaults, docstrings, and names that no other objective
  has an option of.

  Attributes:
    name: What configs and records call it.
    label: What tables and figures call it.
    rows: What a device's share of a batch must be a multiple of.
    outliers: Reference of the set whose images batches carry as outliers; None where they carry
      none.
  """

  name: ClassVar[str]
  label: ClassVar[str]
  rows: ClassVar[int] = 1
  outliers: ClassVar[str | None] = None

  @abc.abstractmethod
  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective.

    Args:
      preprocessing: How stored examples become the network's input.
      entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.
    """
