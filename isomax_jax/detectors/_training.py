"""Training data as a fit reads them: checked batches in float64, on the host."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from isomax_jax.detectors.base import Batches


class TrainingBatch(NamedTuple):
  """A batch of training data, which a fit may change.

  Attributes:
    features: The head's input, shape ``[batch, features]``, float64.
    logits: Logits, shape ``[batch, classes]``, float64.
    labels: Class indices, shape ``[batch]``.
  """

  features: np.ndarray
  logits: np.ndarray
  labels: np.ndarray


def training_batches(batches: Batches, *, detector: str) -> Iterator[TrainingBatch]:
  """Pass over training data once.

  Args:
    batches: The training data.
    detector: Name of the detector that asks, for the messages.

  Yields:
    Every batch.

  Raises:
    ValueError: If features or logits are not finite, or there is no example.

  Example:
    >>> from isomax_jax.typing import Outputs
    >>> outputs = Outputs(logits=np.zeros((2, 3)), features=np.array([[1.0], [2.0]]))
    >>> batches = [(None, np.array([0, 2]), outputs)]
    >>> print(sum(b.features.sum() for b in training_batches(batches, detector="mine")))
    3.0
  """
  examples = 0
  for _, labels, outputs in batches:
    batch = TrainingBatch(
      np.array(outputs.features, np.float64),
      np.array(outputs.logits, np.float64),
      np.array(labels),
    )
    check_finite("features", batch.features, detector=detector)
    check_finite("logits", batch.logits, detector=detector)
    examples += len(batch.labels)
    yield batch
  check_examples(examples, detector=detector)


def check_finite(name: str, array: np.ndarray, *, detector: str) -> None:
  """Raise ValueError, naming the detector and the array, unless all numbers are finite.

  Example:
    >>> check_finite("logits", np.array([0.0, np.nan]), detector="mine")
    Traceback (most recent call last):
    ValueError: mine needs finite logits of the training data, got NaN or inf
  """
  if not np.isfinite(array).all():
    raise ValueError(f"{detector} needs finite {name} of the training data, got NaN or inf")


def check_examples(examples: float, *, detector: str) -> None:
  """Raise ValueError, naming the detector, if there was no example.

  Example:
    >>> check_examples(0, detector="mine")
    Traceback (most recent call last):
    ValueError: mine needs training data: there was no example
  """
  if not examples:
    raise ValueError(f"{detector} needs training data: there was no example")
