"""ReAct: energy of the head's logits of clipped features."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from isomax_jax import _checks, scores
from isomax_jax.detectors._training import training_batches
from isomax_jax.detectors.base import Detector

# Activations are told apart by the upper, then by the lower half of 32 bits.
_HALF = 16
_BINS = 1 << _HALF


def react(*, percentile: float = 90.0) -> Detector:
  r"""Rank by the energy of the logits of features that are clipped from above (ReAct).

  .. math:: \log \textstyle\sum_j \exp h_j(\min(f, c)), \qquad
     c = \text{the } p\text{-th percentile of all activations}

  with :math:`h` the head, which may be any. Needs features and the head, whose pass over the
  clipped features is all that a score costs. The fit takes two passes over training data and
  keeps 3 × 65,536 counts; the percentile is exact in float32, interpolated between neighbours as
  NumPy does. The authors estimate it from some 2,000 validation images; hand those in to do the
  same.

  Args:
    percentile: The percentile :math:`p`, from 0 to 100; the default is the authors'.

  Returns:
    A detector whose parameter is the ``threshold`` :math:`c`, a scalar.

  Raises:
    ValueError: If the percentile is not from 0 to 100. The fit, if there is no training example,
      one is not finite, or the second pass gives others than the first or cannot be.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.detectors import Classifier
    >>> from isomax_jax.typing import Outputs
    >>> classifier = Classifier(None, head=lambda params, features: features, head_params=())
    >>> features = jnp.array([[0.0, 1.0], [2.0, 9.0]])
    >>> outputs = Outputs(logits=features, features=features)
    >>> detector = react(percentile=50)
    >>> params = detector.fit(classifier, [(None, jnp.array([0, 1]), outputs)])
    >>> print(params["threshold"], detector.score(params, classifier, None, outputs).round(2))
    1.5 [1.31 2.19]

  References:
    Sun et al., *ReAct: Out-of-distribution Detection With Rectified Activations*, 2021, Eq. 1.
  """
  _checks.percentile("percentile", percentile)

  def fit(classifier, batches):
    if isinstance(batches, Iterator):
      raise ValueError("react passes over training data twice, got an iterator, good for one pass")
    upper_counts = np.zeros(_BINS, np.int64)
    for batch in training_batches(batches, detector="react"):
      upper_counts += np.bincount(_keys(batch.features) >> _HALF, minlength=_BINS)
    last = int(upper_counts.sum()) - 1
    position = last * (percentile / 100)
    ranks = int(position), min(int(position) + 1, last)
    places = [_find(upper_counts, rank) for rank in ranks]
    lower_counts = {upper: np.zeros(_BINS, np.int64) for upper, _ in places}
    for batch in training_batches(batches, detector="react"):
      keys = _keys(batch.features)
      for upper, counts in lower_counts.items():
        inside = keys[keys >> _HALF == upper]
        counts += np.bincount(inside & (_BINS - 1), minlength=_BINS)
    if any(counts.sum() != upper_counts[upper] for upper, counts in lower_counts.items()):
      raise ValueError("react needs the same training data when iterated again, got others")
    below, above = (
      _activation(upper << _HALF | _find(lower_counts[upper], rank)[0]) for upper, rank in places
    )
    return {"threshold": jnp.asarray(below + (above - below) * (position - ranks[0]))}

  def score(params, classifier, images, outputs):
    features = _checks.floating("features", outputs.features)
    clipped = jnp.minimum(features, params["threshold"])
    return scores.energy(classifier.head(classifier.head_params, clipped))

  return Detector(fit, score)


def _keys(activations: np.ndarray) -> np.ndarray:
  """Return integers of 32 bits, in int64, that are ordered as the activations in float32."""
  bits = activations.astype(np.float32).ravel().view(np.uint32)
  return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.int64)


def _activation(key: int) -> float:
  bits = np.uint32(key ^ (1 << 31) if key >> 31 else key ^ 0xFFFFFFFF)
  return float(bits.view(np.float32))


def _find(counts: np.ndarray, rank: int) -> tuple[int, int]:
  """Return the bin of what has this rank, and its rank within the bin."""
  cumulative = np.cumsum(counts)
  place = int(np.searchsorted(cumulative, rank, side="right"))
  return place, int(rank - (cumulative[place] - counts[place]))
