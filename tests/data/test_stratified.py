import numpy as np
import pytest

from isomax_jax.data._stratified import stratified_choice

LABELS = np.array([2, 0, 1, 1, 0, 2, 2, 2, 0, 1, 1, 1] * 5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, [0, 0, 0]), (0.3, [4, 8, 6])])
def test_share_of_each_class(fraction, expected):
  chosen = stratified_choice(LABELS, fraction, seed=3)
  assert chosen.shape == LABELS.shape
  assert np.bincount(LABELS[chosen], minlength=3).tolist() == expected


def test_seed_decides():
  first, again, other = (stratified_choice(LABELS, 0.5, seed=seed) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_choice_of_a_seed_never_changes():
  chosen = stratified_choice(np.zeros(20, dtype=np.int32), 0.25, seed=0)
  assert np.flatnonzero(chosen).tolist() == [2, 3, 11, 13, 15]


def test_every_member_of_a_class_is_chosen_about_equally_often():
  labels = np.repeat([0, 1], 10)
  times = sum(stratified_choice(labels, 0.5, seed=seed).astype(int) for seed in range(400))
  assert times.min() > 150
  assert times.max() < 250
