import json

import numpy as np
import pytest
from scipy.special import softmax

from isomax_jax.evaluation.calibration import (
  calibration_from_json,
  calibration_to_json,
  measure_calibration,
)


@pytest.fixture
def calibration():
  random = np.random.default_rng(0)
  labels = random.integers(0, 4, 200)
  logits = random.normal(0, 1, (200, 4)) + 2 * np.eye(4)[labels]
  return measure_calibration(logits, labels, temperature=0.4)


def test_before_is_without_and_after_with_the_temperature():
  logits, labels = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), np.array([1, 0, 0])
  found = measure_calibration(logits, labels, temperature=0.5)
  assert found.temperature == 0.5
  for reliability, factor in ((found.before, 1), (found.after, 2)):
    confidence = softmax(factor * logits, axis=1).max(axis=1)
    expected = np.average(
      reliability.confidence[reliability.counts > 0],
      weights=reliability.counts[reliability.counts > 0],
    )
    assert expected == pytest.approx(confidence.mean(), rel=1e-14)
    counts, _ = np.histogram(confidence, np.linspace(0, 1, 16))
    np.testing.assert_array_equal(reliability.counts, counts)


def test_a_calibration_survives_json(calibration):
  text = json.dumps(calibration_to_json(calibration), allow_nan=False)
  read = calibration_from_json(json.loads(text))
  assert read.temperature == 0.4
  assert np.isnan(read.before.accuracy).any()
  for found, expected in ((read.before, calibration.before), (read.after, calibration.after)):
    assert found.calibration_error == expected.calibration_error
    for array, wanted in zip(found, expected, strict=True):
      assert array.dtype == wanted.dtype
      np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(
  ("part", "changes", "problem"),
  [
    (None, {"temperature": "cold"}, "temperature must be a number, got 'cold'"),
    (None, {"calibrated": None}, "'NoneType' object is not subscriptable"),
    ("calibrated", {"counts": [0, 0]}, "counts must be those of bins, some above 0, got [0, 0]"),
    ("calibrated", {"counts": [2, None]}, "counts must be those of bins, .* got [2, None]"),
    ("uncalibrated", {"counts": [2, -1]}, "counts must be those of bins, .* got [2, -1]"),
    ("uncalibrated", {"counts": 3}, "counts must be those of bins, some above 0, got 3"),
    ("uncalibrated", {"accuracy": [0.5]}, "accuracy must be in .*, got [0.5]"),
    ("calibrated", {"confidence": [None] * 15}, "confidence must be in .*, got [N.*"),
  ],
)  # fmt: skip
def test_what_is_no_calibration_is_refused(calibration, part, changes, problem):
  values = calibration_to_json(calibration)
  (values if part is None else values[part]).update(changes)
  pattern = problem.replace("[", r"\[").replace("]", r"\]")
  with pytest.raises(ValueError, match=f"^not a calibration: {pattern}$"):
    calibration_from_json(values)


def test_what_is_missing_is_named(calibration):
  values = calibration_to_json(calibration)
  del values["calibrated"]["accuracy"]
  with pytest.raises(ValueError, match=r"^not a calibration: lacks 'accuracy'$"):
    calibration_from_json(values)
