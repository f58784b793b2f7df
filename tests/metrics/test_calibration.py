import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from isomax_jax.metrics import (
  expected_calibration_error,
  fit_temperature,
  negative_log_likelihood,
  reliability,
)


def logits_with_confidence(confidences, classes=2):
  """Return logits whose maximum probability is each confidence, of class 0."""
  logits = np.zeros((len(confidences), classes))
  logits[:, 0] = [np.log(c * (classes - 1) / (1 - c)) for c in confidences]
  return logits


def looped_bins(logits, labels, bins, temperature):
  """Return the count, mean confidence and accuracy of each bin, NaN where it is empty."""
  probabilities = softmax(logits / temperature, axis=1)
  rows = []
  for b in range(bins):
    inside = [
      (p.max(), p.argmax() == y)
      for p, y in zip(probabilities, labels, strict=True)
      if b / bins < p.max() <= (b + 1) / bins
    ]
    rows.append((len(inside), *(np.mean(inside, axis=0) if inside else (np.nan, np.nan))))
  return np.transpose(rows)


def looped_error(logits, labels, bins, temperature):
  counts, confidence, correct = looped_bins(logits, labels, bins, temperature)
  return np.nansum(counts / len(labels) * abs(correct - confidence))


@pytest.mark.parametrize("bins", [1, 2, 15, 100])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_reliability_equals_a_loop_over_bins(bins, temperature):
  random = np.random.default_rng(5)
  logits = random.normal(0, 2, (300, 4))
  labels = random.integers(0, 4, 300)
  counts, confidence, accuracy = looped_bins(logits, labels, bins, temperature)
  found = reliability(logits, labels, bins=bins, temperature=temperature)
  np.testing.assert_allclose(found.edges, np.arange(bins + 1) / bins, rtol=1e-15)
  np.testing.assert_array_equal(found.counts, counts)
  assert np.issubdtype(found.counts.dtype, np.integer)
  np.testing.assert_allclose(found.confidence, confidence, rtol=1e-13)
  np.testing.assert_allclose(found.accuracy, accuracy, rtol=1e-13)


def test_bins_without_examples_are_nan():
  found = reliability(np.zeros((3, 2)), [0, 1, 1], bins=5)  # 1/2 sure, 1/3 right
  np.testing.assert_array_equal(found.counts, [0, 0, 3, 0, 0])
  np.testing.assert_array_equal(found.confidence, [np.nan, np.nan, 0.5, np.nan, np.nan])
  np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 1 / 3, np.nan, np.nan])
  assert found.calibration_error == pytest.approx(1 / 6)


def test_reliability_has_15_bins_and_temperature_1_by_default():
  logits = np.random.default_rng(6).normal(0, 1, (50, 3))
  labels = np.zeros(50, int)
  for expected, found in zip(
    looped_bins(logits, labels, 15, 1), reliability(logits, labels)[1:], strict=True
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("bins", [1, 2, 15, 100])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_calibration_error_equals_a_loop_over_bins(bins, temperature):
  random = np.random.default_rng(1)
  logits = random.normal(0, 2, (300, 4))
  labels = random.integers(0, 4, 300)
  assert expected_calibration_error(
    logits, labels, bins=bins, temperature=temperature
  ) == pytest.approx(looped_error(logits, labels, bins, temperature), abs=1e-13)


def test_calibration_error_has_15_bins_and_temperature_1_by_default():
  random = np.random.default_rng(2)
  labels = random.integers(0, 3, 50)
  logits = random.normal(0, 1, (50, 3)) + np.eye(3)[labels]
  errors = {
    options: looped_error(logits, labels, *options) for options in ((15, 1), (14, 1), (15, 1.1))
  }
  assert len(set(errors.values())) == 3
  assert expected_calibration_error(logits, labels) == pytest.approx(errors[15, 1], abs=1e-14)


def test_bins_are_closed_above():
  # Half and .55 sure: .5 is the end of the first of two bins, .55 is in the second.
  logits = np.concatenate([np.zeros((1, 2)), logits_with_confidence([0.55])])
  assert expected_calibration_error(logits, [0, 1], bins=2) == pytest.approx((0.5 + 0.55) / 2)
  assert expected_calibration_error(logits, [0, 1], bins=1) == pytest.approx(0.025)


@pytest.mark.parametrize("bins", range(2, 40))
def test_a_uniform_row_closes_a_bin(bins):
  # 1/bins sure, right; a bit surer, wrong: only together in one bin do the gaps cancel.
  logits = np.concatenate([np.zeros((1, bins)), 1e-3 * np.eye(bins)[:1]])
  surer = softmax(logits[1])[0]
  assert expected_calibration_error(logits, [0, 1], bins=bins) == pytest.approx(
    (1 - 1 / bins + surer) / 2
  )


def test_certain_rows_count():
  assert expected_calibration_error([[1e4, 0.0]] * 4, [0, 0, 0, 1]) == 0.25


@pytest.mark.parametrize(
  ("options", "error", "message"),
  [
    ({"bins": 0}, ValueError, "bins must be a positive, finite number, got 0"),
    ({"bins": 1.5}, TypeError, r"bins must be an integer, got 1\.5"),
    ({"temperature": 0.0}, ValueError, r"temperature must be a positive, .*, got 0\.0"),
    ({"temperature": np.nan}, ValueError, "temperature must be a positive, .*, got nan"),
  ],
)
@pytest.mark.parametrize("function", [reliability, expected_calibration_error])
def test_bad_options_are_refused(function, options, error, message):
  with pytest.raises(error, match=f"^{message}$"):
    function([[0.0, 1.0]], [0], **options)


@pytest.mark.parametrize("gap", [1e-2, 1.0, 50.0])
@pytest.mark.parametrize("right", [6, 9, 99])
def test_temperature_in_closed_form(gap, right):
  # Two classes, one gap: the probability of being right is the share of right labels.
  labels = np.array([0] * right + [1] * (right // 3))
  logits = np.tile([gap, 0.0], (labels.size, 1))
  expected = gap / np.log(right / (right // 3))
  assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-11)


def test_temperature_minimises_the_likelihood():
  random = np.random.default_rng(3)
  logits = random.normal(0, 3, (400, 6)) - 40
  labels = np.array([random.choice(6, p=row) for row in softmax(logits / 2.5, axis=1)])

  def loss(log_temperature):
    return -np.mean(log_softmax(logits / np.exp(log_temperature), axis=1)[range(400), labels])

  best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
  fitted = fit_temperature(logits, labels)
  assert np.log(fitted) == pytest.approx(best.x, abs=1e-6)
  assert abs(np.log(fitted / 2.5)) < 0.15
  assert negative_log_likelihood(logits / fitted, labels) <= best.fun + 1e-15


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 20))
def test_temperature_is_stationary_and_scales_with_the_logits(seed, scale):
  random = np.random.default_rng(seed)
  logits, labels = random.normal(0, 1, (30, 3)), random.integers(0, 3, 30)
  logits[np.arange(30), labels] += 1  # informative
  logits[0] = np.roll([1.0, 0.0, 0.0], labels[0] + 1)  # and once wrong
  fitted = fit_temperature(logits, labels)
  assert 1e-3 < fitted < 1e3
  # d/dβ of logsumexp(βL) - βL_y at β = 1/T, by central differences
  step = 1e-5 / fitted
  losses = [
    np.mean(logsumexp(b * logits, axis=1) - b * logits[range(30), labels])
    for b in (1 / fitted - step, 1 / fitted + step)
  ]
  assert abs(losses[1] - losses[0]) / (2 * step) < 1e-7
  expected = np.clip(scale * fitted, 1e-3, 1e3)
  assert fit_temperature(scale * logits, labels) == pytest.approx(expected, rel=1e-9)


def test_temperature_stops_at_the_lower_bound_when_every_label_is_largest():
  assert fit_temperature([[1.0, 0.0], [0.0, 3.0]], [0, 1]) == 1e-3
  assert fit_temperature([[1e-9, 0.0], [0.0, 1e-9]], [0, 1]) == 1e-3
  assert fit_temperature([[1e6, 0.0], [0.0, 1e6]], [0, 1]) == 1e-3
  assert fit_temperature([[0.1, 0.1, 0.1]], [2]) == 1e-3


def test_temperature_stops_at_the_upper_bound_when_logits_mislead():
  assert fit_temperature([[1.0, 0.0], [0.0, 3.0]], [1, 0]) == 1e3
  assert fit_temperature([[1.0, 0.0], [1.0, 0.0]], [0, 1]) == 1e3


def test_temperature_is_deterministic():
  random = np.random.default_rng(4)
  logits, labels = random.normal(0, 1, (100, 5)), random.integers(0, 5, 100)
  assert len({fit_temperature(logits + np.eye(5)[labels], labels) for _ in range(3)}) == 1


def test_scipy_waits_for_its_first_use():
  program = (
    "import sys, jax; before = 'scipy.optimize' in sys.modules; import isomax_jax.metrics;"
    "sys.exit('scipy.optimize' in sys.modules and not before)"
  )
  subprocess.run([sys.executable, "-c", program], check=True)
