"""Class means and the covariance around them, accumulated in one pass over training data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from isomax_jax.detectors._training import check_examples, check_finite
from isomax_jax.detectors.base import Batches
from isomax_jax.typing import AnyArray, Outputs


class Moments(NamedTuple):
  """Counts, means and scatter of vectors by class, float64; ``C D + D²`` numbers.

  Attributes:
    counts: Number of vectors of each class, shape ``[classes]``.
    means: Mean of each class, shape ``[classes, features]``; zero without vectors.
    scatter: Sum over all vectors of ``(f - mean of its class)(f - mean of its class)^T``, shape
      ``[features, features]``.
  """

  counts: np.ndarray
  means: np.ndarray
  scatter: np.ndarray

  @property
  def mean(self) -> np.ndarray:
    """Mean of all vectors, shape ``[features]``."""
    return self.shares @ self.means

  @property
  def shares(self) -> np.ndarray:
    """Share of each class in all vectors, shape ``[classes]``."""
    return self.counts / self.counts.sum()

  @property
  def tied_covariance(self) -> np.ndarray:
    """Covariance around the class means, with the number of vectors as its divisor."""
    return self.scatter / self.counts.sum()


def no_moments(classes: int, features: int) -> Moments:
  """Return the moments of no vectors at all."""
  shape = (classes, features)
  return Moments(np.zeros(classes), np.zeros(shape), np.zeros((features, features)))


def updated(moments: Moments, vectors: np.ndarray, labels: np.ndarray) -> Moments:
  """Return the moments of what went before and of more vectors ``[batch, features]``, float64.

  Each vector is differenced from its class' mean in the batch, and the batch's means from the
  former ones (Chan et al., *Updating Formulae and a Pairwise Algorithm for Computing Sample
  Variances*), so that nothing of the size of a squared mean is ever subtracted.
  """
  present, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
  of_class = np.eye(len(present))[:, places]
  means = of_class @ vectors / counts[:, None]
  residuals = vectors - means[places]
  former_counts, former_means = moments.counts[present], moments.means[present]
  total_counts = former_counts + counts
  shifts = means - former_means
  weights = former_counts * counts / total_counts
  scatter = residuals.T @ residuals + (weights[:, None] * shifts).T @ shifts
  all_counts, all_means = moments.counts.copy(), moments.means.copy()
  all_counts[present] = total_counts
  all_means[present] = former_means + (counts / total_counts)[:, None] * shifts
  return Moments(all_counts, all_means, moments.scatter + scatter)


def fit_moments(
  batches: Batches,
  vectors: Callable[[Outputs[AnyArray]], tuple[AnyArray, ...]],
  *,
  detector: str,
  by_class: bool = True,
) -> tuple[Moments, ...]:
  """Return the moments of each kind of vector of the outputs, from one pass over training data.

  Args:
    batches: The training data.
    vectors: Function of the outputs to arrays, shape ``[batch, features]`` each.
    detector: Name of the detector that asks, for the messages.
    by_class: Whether labels count; otherwise all vectors are of one class.

  Raises:
    ValueError: If there is no example, a class of the logits has none, a label is none of theirs,
      or a vector is not finite.

  Example:
    >>> outputs = Outputs(logits=np.zeros((3, 2)), features=np.array([[0.0], [2.0], [5.0]]))
    >>> batches = [(None, np.array([0, 0, 1]), outputs)]
    >>> (moments,) = fit_moments(batches, lambda outputs: (outputs.features,), detector="mine")
    >>> print(moments.counts, moments.means.ravel(), moments.scatter)
    [2. 1.] [1. 5.] [[2.]]
  """
  accumulated: list[Moments] = []
  for _, labels, outputs in batches:
    arrays = [np.asarray(array, np.float64) for array in vectors(outputs)]
    classes = outputs.logits.shape[-1] if by_class else 1
    labels = np.asarray(labels) if by_class else np.zeros(len(arrays[0]), int)
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
      raise ValueError(f"{detector} needs labels of 0 .. {classes - 1}, got {outside[0]}")
    if not accumulated:
      accumulated = [no_moments(classes, array.shape[-1]) for array in arrays]
    for array in arrays:
      check_finite("features", array, detector=detector)
    if len(labels):
      accumulated = [
        updated(moments, array, labels) for moments, array in zip(accumulated, arrays, strict=True)
      ]
  check_examples(accumulated[0].counts.sum() if accumulated else 0, detector=detector)
  missing = np.flatnonzero(accumulated[0].counts == 0)
  if missing.size:
    missing = ", ".join(map(str, missing))
    raise ValueError(f"{detector} needs an example of every class, got none of {missing}")
  return tuple(accumulated)
