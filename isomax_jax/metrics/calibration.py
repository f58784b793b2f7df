"""Calibration error, reliability by confidence, and temperature scaling.

IsoMax's probabilities are low by design, since the entropic scale is removed after training: they
serve detection. A fitted temperature turns the same logits into calibrated probabilities.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax import _checks
from isomax_jax.metrics.classification import labelled_logits

LOWEST_TEMPERATURE = 1e-3
HIGHEST_TEMPERATURE = 1e3


class Reliability(NamedTuple):
  """Accuracy by bins of confidence, as in a reliability diagram; NaN in bins without an example.

  Attributes:
    edges: Edges of the bins, from 0 to 1, shape ``[bins + 1]``; a bin is open below, closed above.
    counts: Number of examples in each bin, shape ``[bins]``, integer.
    confidence: Mean maximum probability of each bin's examples, shape ``[bins]``.
    accuracy: Share of each bin's examples that are classified correctly, shape ``[bins]``.
  """

  edges: np.ndarray
  counts: np.ndarray
  confidence: np.ndarray
  accuracy: np.ndarray

  @property
  def calibration_error(self) -> float:
    """The expected calibration error: the gap, averaged over the examples."""
    gaps = np.abs(self.accuracy - self.confidence)
    filled = self.counts > 0
    return float(np.average(gaps[filled], weights=self.counts[filled]))


def reliability(
  logits: ArrayLike, labels: ArrayLike, *, bins: int = 15, temperature: float = 1.0
) -> Reliability:
  r"""Compare confidence with accuracy, over bins of confidence.

  .. math::
    \mathrm{conf}(I_b) = \frac1{|I_b|} \sum_{i \in I_b} \max_j p_{ij}, \qquad
    I_b = \left\{ i : \tfrac{b-1}B < \max_j p_{ij} \le \tfrac bB \right\}, \qquad
    p_i = \operatorname{softmax}(L_i / T)

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.
    bins: The number :math:`B` of bins of equal width.
    temperature: The temperature :math:`T` that divides the logits.

  Returns:
    Edges, counts, mean confidence and accuracy of the bins.

  Raises:
    TypeError: If the logits are not real numbers, or labels or bins not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite, a label
      names no class, or bins or temperature are not positive.

  Example:
    >>> found = reliability([[0.0, 0.0], [0.0, 0.0], [0.0, 9.0]], [0, 1, 1], bins=2)
    >>> found.counts, found.accuracy
    (array([2, 1]), array([0.5, 1. ]))

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, Eq. 2 and Fig. 1.
  """
  logits, labels = labelled_logits(logits, labels)
  if not isinstance(bins, int | np.integer):
    raise TypeError(f"bins must be an integer, got {bins!r}")
  _checks.positive("bins", bins)
  _checks.positive("temperature", temperature)
  confidence = 1 / np.exp(logits / temperature).sum(axis=1)  # the largest logit is 0
  is_right = logits.argmax(axis=1) == labels
  bin_of_example = np.ceil(bins * confidence).astype(np.int64) - 1
  counts = np.bincount(bin_of_example, minlength=bins)
  divisors = np.where(counts, counts, np.nan)
  confidence, accuracy = (
    np.bincount(bin_of_example, weights=values, minlength=bins) / divisors
    for values in (confidence, is_right)
  )
  return Reliability(np.linspace(0, 1, bins + 1), counts, confidence, accuracy)


def expected_calibration_error(
  logits: ArrayLike, labels: ArrayLike, *, bins: int = 15, temperature: float = 1.0
) -> float:
  r"""Compute the mean gap between confidence and accuracy over bins of confidence.

  .. math:: \sum_{b=1}^{B} \frac{|I_b|}{n} \left| \mathrm{acc}(I_b) - \mathrm{conf}(I_b) \right|

  with the bins :math:`I_b` and the confidence of :func:`reliability`.

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.
    bins: The number :math:`B` of bins.
    temperature: The temperature that divides the logits.

  Returns:
    The error, in [0, 1].

  Raises:
    TypeError, ValueError: As :func:`reliability` does.

  Example:
    >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1])  # 1/2 sure, 1/2 right
    0.0
    >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 0])  # 1/2 sure, always right
    0.5

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, Eq. 3.
  """
  return reliability(logits, labels, bins=bins, temperature=temperature).calibration_error


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
  r"""Find the temperature with the least negative log-likelihood.

  .. math:: \arg\min_T -\frac1n \sum_i \log \operatorname{softmax}(L_i / T)_{y_i}

  The log-likelihood is concave in :math:`1/T`, so its only stationary point, where the mean logit
  that softmax expects is the mean logit of the labels, is the optimum. It is bracketed over
  :math:`\log T` from 1e-3 to 1e3 and found to 1e-12, with no start and nothing random. Without an
  optimum between, an end is returned: 1e-3 when every label has its row's largest logit, 1e3 when
  the labels' logits are on average no larger than their rows' means.

  Args:
    logits: Logits of held-out examples, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.

  Returns:
    The temperature, from 1e-3 to 1e3, to divide logits by.

  Raises:
    TypeError, ValueError: As :func:`reliability` does.

  Example:
    >>> round(fit_temperature([[2.0, 0.0]] * 4, [0, 0, 0, 1]), 6)  # 2 / log 3: right 3 times in 4
    1.820478

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, section 4.2.
  """
  # A quarter of a second that the other metrics need not pay.
  from scipy.optimize import root_scalar

  logits, labels = labelled_logits(logits, labels)
  mean_chosen = np.take_along_axis(logits, labels[:, None], axis=1).mean()

  def excess(log_temperature: float) -> float:
    """Return the expected logit less the labels', which falls as the temperature rises."""
    weights = np.exp(logits / np.exp(log_temperature))
    return np.mean((weights * logits).sum(axis=1) / weights.sum(axis=1)) - mean_chosen

  lowest, highest = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
  if excess(lowest) <= 0:
    return LOWEST_TEMPERATURE
  if excess(highest) >= 0:
    return HIGHEST_TEMPERATURE
  found = root_scalar(excess, bracket=(lowest, highest), method="brentq", xtol=1e-12)
  if not found.converged:
    raise RuntimeError(f"the temperature was not found: {found.flag}")
  return float(np.exp(found.root))
