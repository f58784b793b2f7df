import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss

from isomax_jax.metrics import (
  accuracy,
  expected_calibration_error,
  fit_temperature,
  negative_log_likelihood,
)

FUNCTIONS = [accuracy, negative_log_likelihood, expected_calibration_error, fit_temperature]


@pytest.fixture
def examples():
  random = np.random.default_rng(0)
  return random.normal(0, 2, (200, 7)), random.integers(0, 7, 200)


def softmax(logits):
  odds = np.exp(logits)
  return odds / odds.sum(axis=1, keepdims=True)


def test_accuracy_equals_scikit_learn(examples):
  logits, labels = examples
  expected = accuracy_score(labels, logits.argmax(axis=1))
  assert accuracy(logits, labels) == pytest.approx(expected, abs=1e-15)


def test_accuracy_takes_the_first_of_tied_logits():
  assert accuracy([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], [0, 0, 1]) == 2 / 3


def test_negative_log_likelihood_equals_scikit_learn(examples):
  logits, labels = examples
  expected = log_loss(labels, softmax(logits), labels=range(7))
  assert negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_negative_log_likelihood_survives_huge_logits():
  assert negative_log_likelihood([[1e6, 0.0]], [1]) == 1e6
  assert negative_log_likelihood([[-1e6, 0.0]], [1]) == 0
  assert negative_log_likelihood([[-1e6, -1e6]], [1]) == pytest.approx(np.log(2), rel=1e-15)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_takes_any_array(function, examples):
  logits, labels = examples
  logits = np.round(logits * 4) / 4  # exact in bfloat16
  expected = function(logits, labels)
  assert type(expected) is float
  for dtype in (jnp.float32, jnp.bfloat16):
    assert function(jnp.array(logits, dtype), jnp.array(labels)) == expected
  assert function(logits.tolist(), labels.tolist()) == expected
  assert function(logits, labels.astype(np.uint8)) == expected


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
  ("logits", "labels", "error", "message"),
  [
    ([[0.0, 1.0]], [2], ValueError, r"labels must be in 0\.\.1, got 2"),
    ([[0.0, 1.0]] * 2, [0, -1], ValueError, r"labels must be in 0\.\.1, got -1"),
    ([[0.0, 1.0]], [0.0], TypeError, "labels must be integers, got dtype float64"),
    ([[0.0, 1.0]], [0, 1], ValueError, r"labels must have shape \(1,\), got \(2,\)"),
    ([[0.0, 1.0]], [[0]], ValueError, r"labels must have shape \(1,\), got \(1, 1\)"),
    ([0.0, 1.0], [0], ValueError, r"logits must have shape .* of each, got \(2,\)"),
    (np.zeros((0, 2)), [], ValueError, r"logits must have shape .* of each, got \(0, 2\)"),
    (np.zeros((2, 0)), [0, 0], ValueError, r"logits must have shape .* of each, got \(2, 0\)"),
    ([[0.0, np.nan]], [0], ValueError, "logits must be finite, got nan"),
    ([[0.0, -np.inf]], [0], ValueError, "logits must be finite, got -inf"),
    ([["a", "b"]], [0], TypeError, "logits must be real numbers, got dtype <U1"),
  ],
)
def test_errors_name_the_argument(function, logits, labels, error, message):
  with pytest.raises(error, match=f"^{message}$"):
    function(logits, labels)
