"""Metrics of out-of-distribution detection; in-distribution is positive and scores higher.

Both sides are sorted once and merged; all the rest is exact counting at every distinct score.
"""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax.metrics._ranking import ascending, required_count


def detection_metrics(
  in_scores: ArrayLike, out_scores: ArrayLike, *, tpr: float = 0.95
) -> dict[str, float]:
  """Compute every detection metric from one sort.

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.
    tpr: The least true positive rate of ``tnr_at_tpr`` and ``fpr_at_tpr``, in (0, 1].

  Returns:
    The value of each metric by the name of its function: ``auroc``, ``tnr_at_tpr``,
    ``fpr_at_tpr``, ``detection_accuracy``, ``aupr_in``, ``aupr_out``; each in [0, 1].

  Raises:
    TypeError: If scores are not real numbers.
    ValueError: If scores are not one-dimensional, are empty or hold NaN, or ``tpr`` is no rate.

  Example:
    >>> metrics = detection_metrics([3.0, 2.0, 1.0], [2.0, 0.0])
    >>> for name, value in metrics.items():
    ...   print(f"{name:18} {value:.3f}")
    auroc              0.750
    tnr_at_tpr         0.500
    fpr_at_tpr         0.500
    detection_accuracy 0.750
    aupr_in            0.847
    aupr_out           0.750
  """
  in_below, out_below = counts_below(in_scores, out_scores)
  tnr, fpr = _rates_at_tpr(in_below, out_below, tpr)
  return {
    "auroc": _auroc(in_below, out_below),
    "tnr_at_tpr": tnr,
    "fpr_at_tpr": fpr,
    "detection_accuracy": _detection_accuracy(in_below, out_below),
    "aupr_in": _aupr_in(in_below, out_below),
    "aupr_out": _aupr(out_below, in_below),
  }


def auroc(in_scores: ArrayLike, out_scores: ArrayLike) -> float:
  r"""Compute the area under the receiver operating characteristic.

  .. math:: P(s_{in} > s_{out}) + \tfrac12 P(s_{in} = s_{out})

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.

  Returns:
    The area, in [0, 1]; .5 is chance.

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> auroc([3.0, 2.0, 1.0], [2.0, 0.0])  # 4 of 6 pairs in order, 1 tied
    0.75
  """
  return _auroc(*counts_below(in_scores, out_scores))


def tnr_at_tpr(in_scores: ArrayLike, out_scores: ArrayLike, *, tpr: float = 0.95) -> float:
  r"""Compute the share of unknown examples rejected where ``tpr`` of the known are accepted.

  .. math::
    \frac{\#\{s_{out} < \delta\}}{n_{out}}, \qquad
    \delta = \max\{t : \#\{s_{in} \ge t\} \ge \mathrm{tpr} \cdot n_{in}\}

  The threshold is that of :func:`isomax_jax.decision.choose_threshold`; nothing is interpolated.

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.
    tpr: The least true positive rate, in (0, 1].

  Returns:
    The true negative rate, in [0, 1].

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> tnr_at_tpr([4.0, 3.0, 2.0, 1.0], [2.5, 2.0, 0.0], tpr=0.75)  # threshold 2
    0.3333333333333333

  References:
    Macêdo et al., *Isotropy Maximization Loss and Entropic Score*, section 4.
  """
  return _rates_at_tpr(*counts_below(in_scores, out_scores), tpr)[0]


def fpr_at_tpr(in_scores: ArrayLike, out_scores: ArrayLike, *, tpr: float = 0.95) -> float:
  r"""Compute the share of unknown examples accepted where ``tpr`` of the known are.

  .. math:: \mathrm{FPR@TPR} = 1 - \mathrm{TNR@TPR}

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.
    tpr: The least true positive rate, in (0, 1].

  Returns:
    The false positive rate, in [0, 1], at the threshold of :func:`tnr_at_tpr`.

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> fpr_at_tpr([4.0, 3.0, 2.0, 1.0], [2.5, 2.0, 0.0], tpr=0.75)  # threshold 2
    0.6666666666666666
  """
  return _rates_at_tpr(*counts_below(in_scores, out_scores), tpr)[1]


def detection_accuracy(in_scores: ArrayLike, out_scores: ArrayLike) -> float:
  r"""Compute the best accuracy of any threshold when both sides are equally likely (DTACC).

  .. math:: \max_\delta \tfrac12 \left(
    \frac{\#\{s_{in} \ge \delta\}}{n_{in}} + \frac{\#\{s_{out} < \delta\}}{n_{out}} \right)

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.

  Returns:
    The accuracy, in [.5, 1].

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> detection_accuracy([3.0, 2.0, 1.0], [2.0, 0.0])  # threshold 1
    0.75

  References:
    Macêdo et al., *Isotropy Maximization Loss and Entropic Score*, Eq. 7.
  """
  return _detection_accuracy(*counts_below(in_scores, out_scores))


def aupr_in(in_scores: ArrayLike, out_scores: ArrayLike) -> float:
  r"""Compute the area under precision and recall with in-distribution as the positive class.

  .. math:: \sum_k (R_k - R_{k-1}) \frac{P_k + P_{k-1}}2, \qquad R_0 = 0,\; P_0 = 1

  over the distinct scores from the highest down: by trapezoids, not as average precision. It
  depends on the sizes of both sides.

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.

  Returns:
    The area, in [0, 1].

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> round(aupr_in([3.0, 2.0, 1.0], [2.0, 0.0]), 4)
    0.8472
  """
  return _aupr_in(*counts_below(in_scores, out_scores))


def aupr_out(in_scores: ArrayLike, out_scores: ArrayLike) -> float:
  """Compute the area under precision and recall with out-of-distribution as the positive class.

  The formula is :func:`aupr_in`'s with the sides exchanged and the scores negated.

  Args:
    in_scores: Scores of in-distribution examples, shape ``[in]``, real; infinities are legal.
    out_scores: Scores of out-of-distribution examples, shape ``[out]``, real.

  Returns:
    The area, in [0, 1].

  Raises:
    TypeError, ValueError: As :func:`detection_metrics` does.

  Example:
    >>> aupr_out([3.0, 2.0, 1.0], [2.0, 0.0])
    0.75
  """
  in_below, out_below = counts_below(in_scores, out_scores)
  return _aupr(out_below, in_below)


def counts_below(in_scores: ArrayLike, out_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  """Count each side's scores below every distinct score, ascending, and at last all, int64."""
  in_sorted = ascending("in_scores", in_scores)
  out_sorted = ascending("out_scores", out_scores)
  scores = np.concatenate([in_sorted, out_sorted])
  # The stable sort is Timsort, which merges two sorted runs in linear time.
  order = np.argsort(scores, kind="stable")
  scores = scores[order]
  below = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1], [True]]))
  # Summed in place: fresh memory for the result would cost more time than the sum.
  in_below = np.zeros(scores.size + 1, dtype=np.int64)
  np.less(order, in_sorted.size, out=in_below[1:])
  in_below = np.cumsum(in_below, out=in_below)[below]
  return in_below, below - in_below


def _auroc(in_below: np.ndarray, out_below: np.ndarray) -> float:
  # out_below[1:] counts ties too, so the mean of both ends gives a tie one half.
  twice_pairs = np.dot(np.diff(in_below), out_below[1:] + out_below[:-1])
  return int(twice_pairs) / (2 * int(in_below[-1]) * int(out_below[-1]))


def _rates_at_tpr(in_below: np.ndarray, out_below: np.ndarray, tpr: float) -> tuple[float, float]:
  """Return the true negative and the false positive rate; each is rounded once."""
  examples = int(in_below[-1])
  rejectable = examples - required_count(examples, tpr=tpr)
  rejected = out_below[np.searchsorted(in_below, rejectable, side="right") - 1]
  return float(rejected / out_below[-1]), float((out_below[-1] - rejected) / out_below[-1])


def _detection_accuracy(in_below: np.ndarray, out_below: np.ndarray) -> float:
  examples_in, examples_out = int(in_below[-1]), int(out_below[-1])
  pairs = examples_in * examples_out
  return (pairs + int(np.max(examples_in * out_below - examples_out * in_below))) / (2 * pairs)


def _aupr_in(in_below: np.ndarray, out_below: np.ndarray) -> float:
  return _aupr(in_below[-1] - in_below[::-1], out_below[-1] - out_below[::-1])


def _aupr(positive: np.ndarray, negative: np.ndarray) -> float:
  """Integrate precision over recall; the counts taken for positive start at 0 and grow."""
  taken = positive + negative
  taken[0] = 1
  precision = positive / taken
  precision[0] = 1.0  # of none taken, none is wrong
  twice_area = np.sum(np.diff(positive) * (precision[1:] + precision[:-1]))
  return float(twice_area / (2 * positive[-1]))
