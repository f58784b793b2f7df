import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.metrics._ranking import ascending, real, required_count


@pytest.mark.parametrize(
  ("scores", "dtype"),
  [
    (np.array([2, -1, 2], np.float32), np.float32),
    (np.array([2, -1, 2], np.float64), np.float64),
    (np.array([2, -1, 2], np.float16), np.float64),
    (np.array([2, -1, 2], np.int64), np.float64),
    (jnp.array([2, -1, 2], jnp.bfloat16), np.float64),
    (jnp.array([2, -1, 2], jnp.float32), np.float32),
    ([2, -1, 2], np.float64),
  ],
)
def test_sorts_any_real_scores(scores, dtype):
  ordered = ascending("scores", scores)
  assert ordered.dtype == dtype
  np.testing.assert_array_equal(ordered, [-1, 2, 2])


def test_leaves_its_argument_alone():
  scores = np.array([2.0, 1.0])
  ascending("scores", scores)
  np.testing.assert_array_equal(scores, [2.0, 1.0])


def test_infinities_are_legal():
  np.testing.assert_array_equal(ascending("scores", [np.inf, 0.0, -np.inf]), [-np.inf, 0.0, np.inf])


@pytest.mark.parametrize(
  ("scores", "error", "message"),
  [
    ([], ValueError, r"^in_scores must have shape \[examples\] with one or more, got \(0,\)$"),
    (1.0, ValueError, r"^in_scores must have shape \[examples\] with one or more, got \(\)$"),
    ([[1.0]], ValueError, r"^in_scores must have shape .*, got \(1, 1\)$"),
    ([1.0, np.nan, -np.inf, np.nan], ValueError, r"^in_scores must not hold NaN, got 2 of 4$"),
    (np.full(3, np.nan, np.float32), ValueError, r"^in_scores must not hold NaN, got 3 of 3$"),
    ([1j], TypeError, "^in_scores must be real numbers, got dtype complex128$"),
    (["a"], TypeError, "^in_scores must be real numbers, got dtype <U1$"),
    ([None], TypeError, "^in_scores must be real numbers, got dtype object$"),
  ],
)
def test_refuses_what_cannot_be_ranked(scores, error, message):
  with pytest.raises(error, match=message):
    ascending("in_scores", scores)


def test_real_keeps_shape_and_dtype():
  values = real("values", np.zeros((2, 3), np.float32))
  assert values.shape == (2, 3)
  assert values.dtype == np.float32


@pytest.mark.parametrize("hundredths", range(1, 101))
def test_whole_shares_are_met_exactly(hundredths):
  # As someone writes them: .07 * 100, .55 * 100 and others are above the whole number in floats.
  tpr = float(f"{hundredths / 100:.2f}")
  for examples in (20, 100, 350, 1000, 10**6):
    exact = math.ceil(Fraction(hundredths, 100) * examples)
    assert required_count(examples, tpr=tpr) == exact


def test_whole_shares_are_met_exactly_as_quotients():
  for examples in range(1, 60):
    for count in range(1, examples + 1):
      assert required_count(examples, tpr=count / examples) == count


def test_a_rate_just_above_a_share_requires_one_more():
  assert required_count(20, tpr=np.nextafter(0.95, 1)) == 20
  assert required_count(20, tpr=np.nextafter(0.95, 0)) == 19


def test_at_least_one_and_at_most_all_are_required():
  assert required_count(20, tpr=0.95) == 19
  assert required_count(19, tpr=0.95) == 19
  assert required_count(21, tpr=0.95) == 20
  assert required_count(5, tpr=1e-12) == 1
  assert required_count(5, tpr=1) == 5


@pytest.mark.parametrize("tpr", [0, -0.5, 1.0000001, 95, float("nan")])
def test_refuses_what_is_no_rate(tpr):
  with pytest.raises(ValueError, match=rf"^tpr must be in \(0, 1\], got {tpr!r}$"):
    required_count(5, tpr=tpr)
