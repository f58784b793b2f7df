"""Decisions between known and unknown by a threshold on the score."""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax.metrics._ranking import ascending, real, required_count
from isomax_jax.typing import ScalarLike


def choose_threshold(in_scores: ArrayLike, *, tpr: float = 0.95) -> float:
  r"""Choose the largest threshold that still accepts ``tpr`` of in-distribution examples.

  .. math:: \delta = \max\{t : \#\{s_{in} \ge t\} \ge \mathrm{tpr} \cdot n_{in}\}

  The threshold is one of the scores, to the last bit: a float32 score turns into the float64 of
  the same value, so the example that set the threshold is itself known. Choose and decide on
  scores of the same precision; between float32 and bfloat16 that one example may fall either way.

  Args:
    in_scores: Scores of in-distribution examples, shape ``[examples]``, real; infinities are
      legal. The examples should be held out: those that were trained on score too high.
    tpr: The least share to accept, in (0, 1].

  Returns:
    The threshold for :func:`is_known`, which :func:`isomax_jax.metrics.tnr_at_tpr` uses too.

  Raises:
    TypeError: If the scores are not real numbers.
    ValueError: If the scores are not one-dimensional, are empty or hold NaN, or ``tpr`` is no rate.

  Example:
    >>> choose_threshold([4.0, 3.0, 2.0, 1.0], tpr=0.75)
    2.0
  """
  scores = ascending("in_scores", in_scores)
  return float(scores[scores.size - required_count(scores.size, tpr=tpr)])


def is_known(scores: ArrayLike, threshold: ScalarLike) -> np.ndarray:
  r"""Decide which scores belong to known examples: :math:`s \ge \delta`.

  The comparison is in float64, which holds every score of a lower precision exactly.

  Args:
    scores: Scores, shape ``[...]``, real; infinities are legal.
    threshold: The least score of a known example, as :func:`choose_threshold` gives it.

  Returns:
    Whether each example is known, shape ``[...]``, bool.

  Raises:
    TypeError: If the scores are not real numbers.
    ValueError: If a score or the threshold is NaN.

  Example:
    >>> is_known([2.5, 2.0, 1.5], 2.0)
    array([ True,  True, False])
  """
  scores = real("scores", scores).astype(np.float64)
  if np.isnan(scores).any():
    raise ValueError(f"scores must not hold NaN, got {np.isnan(scores).sum()} of {scores.size}")
  if np.isnan(threshold):
    raise ValueError("threshold must not be NaN")
  return scores >= float(threshold)
