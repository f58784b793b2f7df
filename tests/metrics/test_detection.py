import inspect
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve

from isomax_jax import decision, metrics

FUNCTIONS = {
  "auroc": metrics.auroc,
  "tnr_at_tpr": metrics.tnr_at_tpr,
  "fpr_at_tpr": metrics.fpr_at_tpr,
  "detection_accuracy": metrics.detection_accuracy,
  "aupr_in": metrics.aupr_in,
  "aupr_out": metrics.aupr_out,
}


def scikit_learn(in_scores, out_scores, tpr=0.95):
  """Compute the metrics of the scores' ranks, for scikit-learn refuses infinities."""
  both = np.concatenate([in_scores, out_scores]).astype(np.float64)
  ranks = np.unique(both, return_inverse=True)[1].astype(np.float64)
  is_in = np.arange(both.size) < len(in_scores)
  false_rate, true_rate, _ = roc_curve(is_in, ranks, drop_intermediate=False)
  accepted = np.argmax(true_rate >= tpr)
  precision_in, recall_in, _ = precision_recall_curve(is_in, ranks)
  precision_out, recall_out, _ = precision_recall_curve(~is_in, -ranks)
  return {
    "auroc": roc_auc_score(is_in, ranks),
    "tnr_at_tpr": 1 - false_rate[accepted],
    "fpr_at_tpr": false_rate[accepted],
    "detection_accuracy": np.max(true_rate + 1 - false_rate) / 2,
    "aupr_in": auc(recall_in, precision_in),
    "aupr_out": auc(recall_out, precision_out),
  }


def brute_force(in_scores, out_scores, tpr=0.95):
  """Compute the metrics from every pair and every threshold, as their definitions read."""
  thresholds = [*sorted({*in_scores, *out_scores}), None]  # None is above infinity

  def share(scores, threshold):
    return sum(threshold is not None and s >= threshold for s in scores) / len(scores)

  def area(positive, negative):
    points = [(0.0, 1.0)]
    for threshold in sorted({*positive, *negative}, reverse=True):
      true = sum(s >= threshold for s in positive)
      false = sum(s >= threshold for s in negative)
      points.append((true / len(positive), true / (true + false)))
    return sum(
      (right - left) * (low + high) / 2 for (left, low), (right, high) in itertools.pairwise(points)
    )

  pairs = [(i > o) + (i == o) / 2 for i in in_scores for o in out_scores]
  chosen = max(t for t in thresholds[:-1] if share(in_scores, t) >= tpr)
  return {
    "auroc": sum(pairs) / len(pairs),
    "tnr_at_tpr": 1 - share(out_scores, chosen),
    "fpr_at_tpr": share(out_scores, chosen),
    "detection_accuracy": max(
      (share(in_scores, t) + 1 - share(out_scores, t)) / 2 for t in thresholds
    ),
    "aupr_in": area(in_scores, out_scores),
    "aupr_out": area([-s for s in out_scores], [-s for s in in_scores]),
  }


def assert_same(actual, expected, tolerance=1e-12):
  assert list(actual) == list(expected)
  for name, value in expected.items():
    assert abs(actual[name] - value) <= tolerance, name


def _cases():
  random = np.random.default_rng(0)
  normal = random.normal
  inf = np.inf
  return {
    "overlapping": (normal(1, 1, 500), normal(0, 1, 700)),
    "overlapping in float32": (
      normal(1, 1, 500).astype(np.float32),
      normal(0, 1, 700).astype(np.float32),
    ),
    "ties": (random.integers(0, 5, 300), random.integers(-2, 3, 200)),
    "saturated": (
      np.minimum(normal(1, 0.3, 400), 1).astype(np.float32),
      np.minimum(normal(0.9, 0.3, 500), 1).astype(np.float32),
    ),
    "all equal": (np.ones(7), np.ones(5)),
    "apart": (normal(10, 1, 50), normal(-10, 1, 50)),
    "the wrong way round": (normal(-10, 1, 50), normal(10, 1, 50)),
    "one each, in order": ([1.0], [0.0]),
    "one each, reversed": ([0.0], [1.0]),
    "one each, tied": ([0.0], [0.0]),
    "one in": ([0.3], normal(0, 1, 100)),
    "one out": (normal(0, 1, 100), [0.3]),
    "1 : 1,000": (normal(1, 1, 10), normal(0, 1, 10_000)),
    "1,000 : 1": (normal(1, 1, 10_000), normal(0, 1, 10)),
    "infinities": (
      np.r_[normal(1, 1, 20), [inf] * 5, [-inf] * 2],
      np.r_[normal(0, 1, 20), [inf] * 2, [-inf] * 9],
    ),
    "nothing finite": ([inf, inf, -inf], [-inf, inf]),
    "two precisions": (np.float32([0.1, 0.5]), np.float64([0.1, 0.3, 0.5])),
  }


CASES = _cases()


@pytest.mark.parametrize("tpr", [0.95, 0.5, 1.0, 0.001])
@pytest.mark.parametrize("case", CASES)
def test_equals_scikit_learn(case, tpr):
  in_scores, out_scores = CASES[case]
  actual = metrics.detection_metrics(in_scores, out_scores, tpr=tpr)
  assert_same(actual, scikit_learn(in_scores, out_scores, tpr))
  assert all(type(value) is float for value in actual.values())


SCORES = st.lists(
  st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False)), min_size=1, max_size=12
)
RATES = st.floats(0, 1, exclude_min=True)


@given(SCORES, SCORES, RATES)
def test_equals_the_definitions(in_scores, out_scores, tpr):
  assert_same(
    metrics.detection_metrics(in_scores, out_scores, tpr=tpr),
    brute_force(in_scores, out_scores, tpr),
  )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("case", ["overlapping", "ties", "infinities"])
def test_alone_equals_together(name, case):
  together = metrics.detection_metrics(*CASES[case])
  assert list(together) == list(FUNCTIONS)
  assert FUNCTIONS[name](*CASES[case]) == together[name]


@pytest.mark.parametrize("name", ["tnr_at_tpr", "fpr_at_tpr"])
def test_the_rate_reaches_the_metric(name):
  in_scores, out_scores = [4.0, 3.0, 2.0, 1.0], [3.5, 2.5, 1.5, 0.5]
  for tpr, tnr in ((0.25, 1.0), (0.5, 0.75), (0.75, 0.5), (1.0, 0.25)):
    expected = {"tnr_at_tpr": tnr, "fpr_at_tpr": 1 - tnr}[name]
    assert FUNCTIONS[name](in_scores, out_scores, tpr=tpr) == expected
    assert metrics.detection_metrics(in_scores, out_scores, tpr=tpr)[name] == expected


@given(SCORES, SCORES, RATES)
def test_rejects_by_the_chosen_threshold(in_scores, out_scores, tpr):
  threshold = decision.choose_threshold(in_scores, tpr=tpr)
  rejected = np.mean(~decision.is_known(out_scores, threshold))
  assert metrics.tnr_at_tpr(in_scores, out_scores, tpr=tpr) == rejected


def test_twenty_examples_at_95_percent_leave_one_out():
  in_scores = np.arange(20.0)  # 19 of 20 score 1 or more
  assert metrics.tnr_at_tpr(in_scores, [0.5, 1.0]) == 0.5
  assert metrics.tnr_at_tpr(np.arange(19.0), [0.5, 1.0]) == 0.0


@given(SCORES, SCORES)
def test_monotone_maps_change_nothing(in_scores, out_scores):
  ranks = np.unique(in_scores + out_scores, return_inverse=True)[1]
  for increasing in (lambda r: r, lambda r: np.exp(r / 9.0), lambda r: (r - 7.0) ** 3):
    mapped = np.split(increasing(ranks), [len(in_scores)])
    assert metrics.detection_metrics(*mapped) == metrics.detection_metrics(in_scores, out_scores)


@given(SCORES, SCORES)
def test_swapping_and_negating_exchanges_the_sides(in_scores, out_scores):
  there = metrics.detection_metrics(in_scores, out_scores)
  back = metrics.detection_metrics(-np.array(out_scores), -np.array(in_scores))
  assert back["auroc"] == there["auroc"]
  assert back["detection_accuracy"] == there["detection_accuracy"]
  assert back["aupr_in"] == pytest.approx(there["aupr_out"], abs=1e-15)
  assert back["aupr_out"] == pytest.approx(there["aupr_in"], abs=1e-15)
  assert metrics.auroc(out_scores, in_scores) == pytest.approx(1 - there["auroc"], abs=1e-15)


@given(SCORES, SCORES, st.randoms(use_true_random=False))
def test_the_order_of_examples_does_not_matter(in_scores, out_scores, random):
  before = metrics.detection_metrics(in_scores, out_scores)
  random.shuffle(in_scores)
  random.shuffle(out_scores)
  assert metrics.detection_metrics(in_scores, out_scores) == before


def test_float32_scores_count_as_their_float64_values():
  in_scores, out_scores = CASES["overlapping in float32"]
  wide = metrics.detection_metrics(in_scores.astype(np.float64), out_scores.astype(np.float64))
  assert metrics.detection_metrics(in_scores, out_scores) == wide
  assert metrics.detection_metrics(jnp.array(in_scores), jnp.array(out_scores)) == wide


def test_counts_do_not_overflow():
  # 2 · 70,000 · 70,000 pairs do not fit 32 bits.
  in_scores = np.arange(70_000) + 0.5
  result = metrics.detection_metrics(in_scores, np.arange(70_000))
  assert result["auroc"] == (70_000 * 70_001 / 2) / 70_000**2
  assert result["detection_accuracy"] == pytest.approx(0.5 + 0.5 / 70_000, abs=1e-15)


@pytest.mark.parametrize("function", [*FUNCTIONS.values(), metrics.detection_metrics])
def test_errors_name_the_argument(function):
  for bad, error, message in (
    ([np.nan], ValueError, "{} must not hold NaN, got 1 of 1"),
    ([], ValueError, r"{} must have shape \[examples\] with one or more, got \(0,\)"),
    ([[1.0]], ValueError, r"{} must have shape \[examples\] with one or more, got \(1, 1\)"),
    (["high"], TypeError, "{} must be real numbers, got dtype <U4"),
  ):
    with pytest.raises(error, match=f"^{message.format('in_scores')}$"):
      function(bad, [1.0])
    with pytest.raises(error, match=f"^{message.format('out_scores')}$"):
      function([1.0], bad)
  if "tpr" in inspect.signature(function).parameters:
    with pytest.raises(ValueError, match=r"^tpr must be in \(0, 1\], got 95$"):
      function([1.0], [1.0], tpr=95)
