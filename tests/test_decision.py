import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isomax_jax.decision import choose_threshold, is_known

SCORES = st.lists(
  st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False)), min_size=1, max_size=20
)


@given(SCORES, st.floats(0, 1, exclude_min=True))
def test_threshold_is_the_largest_that_accepts_enough(scores, tpr):
  threshold = choose_threshold(scores, tpr=tpr)
  assert type(threshold) is float
  assert threshold in scores
  assert sum(s >= threshold for s in scores) / len(scores) >= tpr
  assert sum(s > threshold for s in scores) / len(scores) < tpr


def test_95_percent_of_20_are_19():
  assert choose_threshold(np.arange(20)) == 1.0
  assert choose_threshold(np.arange(100), tpr=0.55) == 45.0  # .55 * 100 > 55
  assert choose_threshold(np.arange(100), tpr=0.07) == 93.0  # .07 * 100 > 7
  assert choose_threshold([5.0], tpr=1e-9) == 5.0
  assert choose_threshold([5.0, 4.0], tpr=1) == 4.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_threshold_meets_its_own_score_exactly(dtype):
  scores = jnp.linspace(-1.1, 0.7, 20, dtype=dtype)
  threshold = json.loads(json.dumps(choose_threshold(scores)))
  known = is_known(scores, threshold)
  assert known.tolist() == [False] + [True] * 19
  for just_that_one in (scores[1], np.asarray(scores)[1], float(scores[1])):
    assert is_known(just_that_one, threshold)


def test_comparison_does_not_round_the_threshold():
  above = np.nextafter(0.5, 1)  # rounds to .5 in float32
  assert not is_known(np.float32([0.5]), above).any()
  assert not is_known(jnp.float32([0.5]), above).any()
  assert is_known(np.float32([0.5]), np.nextafter(0.5, 0)).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_decision_keeps_the_shape(shape):
  known = is_known(np.ones(shape), 1.0)
  assert known.shape == shape
  assert known.dtype == np.bool_
  assert known.all()


def test_infinities_are_legal():
  assert is_known([-np.inf, 0.0, np.inf], 0.0).tolist() == [False, True, True]
  assert is_known([-np.inf, np.inf], -np.inf).all()
  assert is_known([0.0, np.inf], np.inf).tolist() == [False, True]
  assert choose_threshold([-np.inf, -np.inf, 1.0]) == -np.inf


@pytest.mark.parametrize(
  ("scores", "error", "message"),
  [
    ([], ValueError, r"in_scores must have shape \[examples\] with one or more, got \(0,\)"),
    ([[1.0]], ValueError, r"in_scores must have shape \[examples\] .*, got \(1, 1\)"),
    ([np.nan, 1.0], ValueError, "in_scores must not hold NaN, got 1 of 2"),
    ([1j], TypeError, "in_scores must be real numbers, got dtype complex128"),
  ],
)
def test_threshold_errors_name_the_argument(scores, error, message):
  with pytest.raises(error, match=f"^{message}$"):
    choose_threshold(scores)


@pytest.mark.parametrize("tpr", [0, 1.5, 95, float("nan")])
def test_threshold_refuses_what_is_no_rate(tpr):
  with pytest.raises(ValueError, match=rf"^tpr must be in \(0, 1\], got {tpr!r}$"):
    choose_threshold([1.0], tpr=tpr)


@pytest.mark.parametrize(
  ("scores", "threshold", "error", "message"),
  [
    ([[0.0, np.nan]], 0.0, ValueError, "scores must not hold NaN, got 1 of 2"),
    (np.nan, 0.0, ValueError, "scores must not hold NaN, got 1 of 1"),
    ([0.0], np.nan, ValueError, "threshold must not be NaN"),
    (["a"], 0.0, TypeError, "scores must be real numbers, got dtype <U1"),
  ],
)
def test_decision_errors_name_the_argument(scores, threshold, error, message):
  with pytest.raises(error, match=f"^{message}$"):
    is_known(scores, threshold)
