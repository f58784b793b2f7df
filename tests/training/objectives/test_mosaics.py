import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.training.objectives.fractional_probability import (
  is_plain,
  make_mosaics,
  mosaic_targets,
)


def test_each_mosaic_is_made_of_quadrants_of_its_four():
  images = np.random.default_rng(0).integers(0, 255, (16, 5, 4, 3)).astype(np.uint8)
  expected = images.copy()
  for start in (4, 12):
    for row in range(4):
      before = [images[start + (row - shift) % 4] for shift in range(4)]
      expected[start + row, 2:, :2] = before[1][2:, :2]
      expected[start + row, :2, 2:] = before[2][:2, 2:]
      expected[start + row, 2:, 2:] = before[3][2:, 2:]
  result = jax.jit(make_mosaics)(images)
  assert result.dtype == jnp.uint8
  np.testing.assert_array_equal(result, expected)


def test_targets_give_a_quarter_to_each_quadrants_label():
  labels = np.array([0, 1, 2, 3, 3, 3, 1, 0, 2, 2, 2, 2, 1, 1, 1, 1])
  targets = mosaic_targets(jnp.asarray(labels), num_classes=4)
  expected = np.eye(4)[labels]
  expected[4:8] = [0.25, 0.25, 0, 0.5]
  np.testing.assert_array_equal(targets, expected)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_out_of_range_makes_its_rows_nan(label):
  labels = jnp.array([label, 0, 0, 0, label, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  rows = np.isnan(mosaic_targets(labels, num_classes=3)).all(-1)
  assert np.flatnonzero(rows).tolist() == [0, 4, 5, 6, 7]


def test_groups_do_not_mix_so_a_split_batch_gives_the_same():
  images = np.random.default_rng(2).normal(size=(32, 4, 4, 1)).astype(np.float32)
  split = jax.vmap(make_mosaics)(images.reshape(4, 8, 4, 4, 1)).reshape(images.shape)
  np.testing.assert_array_equal(make_mosaics(images), split)


def test_plain_rows_are_the_first_four_of_eight():
  assert np.flatnonzero(is_plain(16)).tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
  images = np.arange(16.0).reshape(16, 1, 1, 1) * np.ones((16, 2, 2, 1))
  changed = (make_mosaics(images) != images).any((1, 2, 3))
  np.testing.assert_array_equal(changed, ~is_plain(16))


def test_a_batch_that_does_not_fit_is_refused():
  message = "must be a multiple of 8 rows for mosaics, got 12"
  with pytest.raises(ValueError, match=message):
    make_mosaics(jnp.zeros((12, 2, 2, 1)))
  with pytest.raises(ValueError, match=message):
    mosaic_targets(jnp.zeros(12, jnp.int32), num_classes=2)
