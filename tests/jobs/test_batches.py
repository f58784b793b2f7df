import itertools

import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.jobs.batches import make_fetch, open_batches
from isomax_jax.training import ObjectiveConfig, OptimConfig, TrainConfig

SEED, BATCH = 5, 64
CONFIG = TrainConfig(
  objective=ObjectiveConfig(name="outlier_exposure", outliers="letters"),
  optim=OptimConfig(batch_size=BATCH),
  seed=SEED,
)


@pytest.fixture(scope="module")
def opened(digits_dir):
  """Known images and outliers, as arrays and on disk."""
  return {
    streamed: (
      read("mnist_5k", "train", classes=(0, 1), data_dir=digits_dir),
      read("letters", "test", data_dir=digits_dir),
    )
    for streamed, read in ((False, data.load), (True, data.open_split))
  }


def batches_of(opened, *, streamed, outliers_streamed, start=0, count=3):
  known, outliers = opened[streamed][0], opened[outliers_streamed][1]
  batches = open_batches(known, CONFIG, outliers)
  fetch = make_fetch(streamed=streamed, outliers_streamed=outliers_streamed)
  drawn = itertools.islice(batches.draws(start), count)
  return [fetch(batches.source, draw) for draw in drawn]


def test_outliers_have_an_order_of_their_own(opened):
  known, outliers = opened[False]
  batches = batches_of(opened, streamed=False, outliers_streamed=False, count=12)
  with_alone = open_batches(known, CONFIG)
  for batch, draw in zip(batches, with_alone.draws(0), strict=False):
    # What is known is drawn as without outliers.
    alone = make_fetch(streamed=False)(with_alone.source, draw)
    np.testing.assert_array_equal(batch.images, alone.images)
    np.testing.assert_array_equal(batch.labels, alone.labels)
    assert batch.outliers.shape == batch.images.shape
  epochs = [
    np.random.default_rng([SEED, 2**32 - 1, epoch]).permutation(len(outliers.labels))
    for epoch in (0, 1)
  ]
  order = np.concatenate(epochs)[: 12 * BATCH]  # The last batches are of two epochs.
  np.testing.assert_array_equal(
    np.concatenate([batch.outliers for batch in batches]), outliers.images[order]
  )


def test_sets_of_one_size_are_not_drawn_alike(opened):
  known, _ = opened[False]
  batches = open_batches(known, CONFIG, known)
  first, second = next(batches.draws(0))
  assert np.mean(first.indices == second.indices) < 0.1


@pytest.mark.parametrize(("streamed", "outliers_streamed"), [(True, True), (False, True)])
def test_batches_are_the_same_from_disk_and_from_any_step_on(opened, streamed, outliers_streamed):
  expected = batches_of(opened, streamed=False, outliers_streamed=False, count=4)[2:]
  options = {"streamed": streamed, "outliers_streamed": outliers_streamed}
  actual = batches_of(opened, **options, start=2, count=2)
  for one, other in zip(actual, expected, strict=True):
    for ours, theirs in zip(one, other, strict=True):
      np.testing.assert_array_equal(ours, theirs)
