import itertools

import chex
import jax
import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.jobs.batches import find_origins, make_fetch, open_batches
from isomax_jax.jobs.setup import make_setup
from isomax_jax.training import DataConfig, ObjectiveConfig, OptimConfig, TrainConfig

SEED, BATCH = 5, 64
CONFIG = TrainConfig(
  data=DataConfig(name="mnist_5k:0,1"),
  objective=ObjectiveConfig(name="outlier_exposure", outliers="letters"),
  optim=OptimConfig(batch_size=BATCH),
  seed=SEED,
)


def origins(*, streamed=False, outliers_streamed=False):
  """Known images and outliers, as arrays or on disk."""
  known, outliers = find_origins(CONFIG, make_setup(CONFIG), None)
  return known._replace(streamed=streamed), outliers._replace(streamed=outliers_streamed)


def batches_of(data_dir, *, start=0, count=3, **streamed):
  known, outliers = origins(**streamed)
  batches = open_batches(known.open(data_dir), CONFIG, outliers.open(data_dir))
  fetch = make_fetch(known, outliers)
  drawn = itertools.islice(batches.draws(start), count)
  return [fetch(batches.source, draw) for draw in drawn]


def test_outliers_have_an_order_of_their_own(digits_dir):
  known, outliers = origins()
  batches = batches_of(digits_dir, count=12)
  with_alone = open_batches(known.open(digits_dir), CONFIG)
  for batch, draw in zip(batches, with_alone.draws(0), strict=False):
    # What is known is drawn as without outliers.
    alone = make_fetch(known)(with_alone.source, draw)
    np.testing.assert_array_equal(batch.images, alone.images)
    np.testing.assert_array_equal(batch.labels, alone.labels)
    assert batch.outliers.shape == batch.images.shape
  images = outliers.open(digits_dir).images
  epochs = [
    np.random.default_rng([SEED, 2**32 - 1, epoch]).permutation(len(images)) for epoch in (0, 1)
  ]
  order = np.concatenate(epochs)[: 12 * BATCH]  # The last batches are of two epochs.
  np.testing.assert_array_equal(
    np.concatenate([batch.outliers for batch in batches]), images[order]
  )


def test_sets_of_one_size_are_not_drawn_alike(digits_dir):
  known = origins()[0].open(digits_dir)
  batches = open_batches(known, CONFIG, known)
  first, second = next(batches.draws(0))
  assert np.mean(first.indices == second.indices) < 0.1


@pytest.mark.parametrize(("streamed", "outliers_streamed"), [(True, True), (False, True)])
def test_batches_are_the_same_from_disk_and_from_any_step_on(
  digits_dir, streamed, outliers_streamed
):
  expected = batches_of(digits_dir, count=4)[2:]
  options = {"streamed": streamed, "outliers_streamed": outliers_streamed}
  actual = batches_of(digits_dir, **options, start=2, count=2)
  for one, other in zip(actual, expected, strict=True):
    for ours, theirs in zip(one, other, strict=True):
      np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_outline_has_the_shapes_of_what_it_outlines(digits_dir, streamed):
  known = origins(streamed=streamed)[0]._replace(reference=data.Reference("mnist_5k", None))
  batches = open_batches(known.open(digits_dir), CONFIG)
  drawn = jax.tree.map(lambda *rows: np.stack(rows), *itertools.islice(batches.draws(0), 2))
  outlined = known.outline(BATCH, 2)
  chex.assert_trees_all_equal_shapes_and_dtypes(outlined[0], batches.source)
  chex.assert_trees_all_equal_shapes_and_dtypes(outlined[1], drawn)
