"""Time all detection metrics at 1M + 1M scores against their peers, in one run.

Peers: scikit-learn, used as well as it can be (one ROC curve and two precision-recall curves for
all six numbers), and the counting that scripts of the field have in common, which walks the two
sorted sides one score at a time in Python.

Run with ``python -m experiments.benchmarks.metrics``; it needs the ``bench`` extra.
"""

import functools
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from experiments.benchmarks import _report, _timing
from isomax_jax.metrics import detection_metrics

EXAMPLES = 1_000_000
TPR = 0.95


def main(arguments: Sequence[str] | None = None) -> None:
  """Print a table for each precision, with the ratios and their targets."""
  packages = ("numpy", "scikit-learn")
  report, _ = _report.parse("metrics", __doc__, packages, arguments, on_host=True)
  for dtype in (np.float32, np.float64):
    scores = _draw(dtype)
    own = {"isomax_jax": functools.partial(detection_metrics, *scores, tpr=TPR)}
    library = {"scikit-learn": functools.partial(scikit_learn, *scores)}
    loop = {"one at a time": functools.partial(one_at_a_time, *scores)}
    timings = _timing.measure(own | library, repeats=10) | _timing.measure(loop, repeats=3)
    case = f"six metrics, {EXAMPLES:,} + {EXAMPLES:,} scores, {np.dtype(dtype).name}"
    report.timings(case, timings)
    values = own["isomax_jax"]()
    for name, target in (("scikit-learn", 8), ("one at a time", 20)):
      ratio = timings[name].median / timings["isomax_jax"].median
      report.ratio(case, f"{name} / isomax_jax", ratio, at_least=target)
      peer_values = (library | loop)[name]()
      difference = max(abs(peer_values[metric] - values[metric]) for metric in values)
      print(f"  largest difference of a metric: {difference:.0e}")


def scikit_learn(in_scores: np.ndarray, out_scores: np.ndarray) -> dict[str, float]:
  """Compute the six metrics with scikit-learn."""
  scores = np.concatenate([in_scores, out_scores])
  is_in = np.arange(scores.size) < in_scores.size
  false_rate, true_rate, _ = roc_curve(is_in, scores, drop_intermediate=False)
  accepted = np.argmax(true_rate >= TPR)
  precision_in, recall_in, _ = precision_recall_curve(is_in, scores)
  precision_out, recall_out, _ = precision_recall_curve(~is_in, -scores)
  return {
    "auroc": auc(false_rate, true_rate),
    "tnr_at_tpr": 1 - false_rate[accepted],
    "fpr_at_tpr": false_rate[accepted],
    "detection_accuracy": np.max(1 + true_rate - false_rate) / 2,
    "aupr_in": auc(recall_in, precision_in),
    "aupr_out": auc(recall_out, precision_out),
  }


def one_at_a_time(in_scores: np.ndarray, out_scores: np.ndarray) -> dict[str, float]:
  """Compute the six metrics by stepping a threshold from score to score (ties in some order)."""
  in_sorted, out_sorted = np.sort(in_scores), np.sort(out_scores)
  true = np.zeros(in_sorted.size + out_sorted.size + 1, dtype=int)
  false = np.zeros_like(true)
  true[0], false[0] = in_sorted.size, out_sorted.size
  in_next = out_next = 0
  for step in range(true.size - 1):
    out_is_done = out_next == out_sorted.size
    if out_is_done or (in_next < in_sorted.size and in_sorted[in_next] <= out_sorted[out_next]):
      in_next += 1
      true[step + 1], false[step + 1] = true[step] - 1, false[step]
    else:
      out_next += 1
      true[step + 1], false[step + 1] = true[step], false[step] - 1
  true_rate, false_rate = true / true[0], false / false[0]
  accepted = np.flatnonzero(true_rate >= TPR)[-1]
  precision_in = np.append(true[:-1] / (true + false)[:-1], 1)
  rejected_out, rejected_in = false[0] - false, true[0] - true
  precision_out = np.append(1, rejected_out[1:] / (rejected_out + rejected_in)[1:])
  return {
    "auroc": auc(false_rate, true_rate),
    "tnr_at_tpr": 1 - false_rate[accepted],
    "fpr_at_tpr": false_rate[accepted],
    "detection_accuracy": np.max(1 + true_rate - false_rate) / 2,
    "aupr_in": auc(true_rate, precision_in),
    "aupr_out": auc(1 - false_rate, precision_out),
  }


def _draw(dtype: type) -> tuple[np.ndarray, np.ndarray]:
  """Draw overlapping in- and out-scores."""
  random = np.random.default_rng(0)
  return tuple(random.normal(mean, 1, EXAMPLES).astype(dtype) for mean in (1, 0))


if __name__ == "__main__":
  main()
