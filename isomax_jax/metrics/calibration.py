"""How far probabilities can be taken at their word, and the temperature that mends them.

IsoMax's own probabilities are low by design, since the entropic scale is removed after training:
they are for detection. A fitted temperature turns the same logits into probabilities to read.
"""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax import _checks
from isomax_jax.metrics._logits import labelled_logits

LOWEST_TEMPERATURE = 1e-3
HIGHEST_TEMPERATURE = 1e3


def expected_calibration_error(
  logits: ArrayLike, labels: ArrayLike, *, bins: int = 15, temperature: float = 1.0
) -> float:
  r"""Compute the mean gap between confidence and accuracy over bins of confidence.

  .. math::
    \sum_{b=1}^{B} \frac{|I_b|}{n} \left| \mathrm{acc}(I_b) - \mathrm{conf}(I_b) \right|, \qquad
    I_b = \left\{ i : \tfrac{b-1}B < \max_j \operatorname{softmax}(L_i / T)_j \le \tfrac bB
    \right\}

  where :math:`\mathrm{conf}(I_b)` is the mean of the maximum probability.

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.
    bins: The number :math:`B` of bins of equal width, open below and closed above.
    temperature: The temperature :math:`T` that divides the logits.

  Returns:
    The error, in [0, 1].

  Raises:
    TypeError: If the logits are not real numbers, or labels or bins not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite, a label
      names no class, or bins or temperature are not positive.

  Example:
    >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1])  # 1/2 sure, 1/2 right
    0.0
    >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 0])  # 1/2 sure, always right
    0.5

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, Eq. 3.
  """
  logits, labels = labelled_logits(logits, labels)
  if not isinstance(bins, int | np.integer):
    raise TypeError(f"bins must be an integer, got {bins!r}")
  _checks.positive("bins", bins)
  _checks.positive("temperature", temperature)
  confidence = 1 / np.exp(logits / temperature).sum(axis=1)  # the largest logit is 0
  gap = (logits.argmax(axis=1) == labels) - confidence
  bin_of_example = np.ceil(bins * confidence).astype(np.int64) - 1
  return float(np.abs(np.bincount(bin_of_example, weights=gap)).sum() / gap.size)


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
  r"""Find the temperature with the least negative log-likelihood.

  .. math:: \arg\min_T -\frac1n \sum_i \log \operatorname{softmax}(L_i / T)_{y_i}

  The likelihood is concave in :math:`1/T`, so its only stationary point is the optimum: there the
  mean logit that softmax expects is the mean logit of the labels. It is bracketed over
  :math:`\log T` from 1e-3 to 1e3 and found to 1e-12; there is no start and nothing random. An end
  is returned where the data determine no optimum between: 1e-3 when no label is below its row's
  largest logit, so that being surer never costs; 1e3 when the labels' logits are on average no
  larger than their rows' means, so that nothing beats uniform probabilities.

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite, of examples that were not
      trained on.
    labels: Class indices, shape ``[examples]``, integer.

  Returns:
    The temperature, from 1e-3 to 1e3, to divide logits by.

  Raises:
    TypeError: If the logits are not real numbers, or the labels not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite or a label
      names no class.

  Example:
    >>> logits = [[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]
    >>> round(fit_temperature(logits, [0, 0, 0, 1]), 6)  # 2 / log 3: right 3 times in 4
    1.820478

  References:
    Guo et al., *On Calibration of Modern Neural Networks*, section 4.2.
  """
  from scipy.optimize import brentq  # a quarter of a second that the other metrics need not pay

  logits, labels = labelled_logits(logits, labels)
  mean_chosen = np.take_along_axis(logits, labels[:, None], axis=1).mean()

  def excess(log_temperature: float) -> float:
    """Return the expected less the labels' logit, which falls as the temperature rises."""
    weights = np.exp(logits / np.exp(log_temperature))
    return np.mean((weights * logits).sum(axis=1) / weights.sum(axis=1)) - mean_chosen

  lowest, highest = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
  if excess(lowest) <= 0:
    return LOWEST_TEMPERATURE
  if excess(highest) >= 0:
    return HIGHEST_TEMPERATURE
  return float(np.exp(brentq(excess, lowest, highest, xtol=1e-12)))
