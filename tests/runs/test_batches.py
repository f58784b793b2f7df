"""The batches that a config's training is made of: of known images, and of outliers."""

import itertools

import chex
import jax
import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.runs.known_set import find_known_set, find_splits, make_pipeline
from isomax_jax.training import DataConfig, OptimConfig, OutlierExposure, TrainConfig

SEED, BATCH = 5, 64
CONFIG = TrainConfig(
  data=DataConfig(name="mnist_5k:0,1"),
  objective=OutlierExposure(outliers="letters"),
  optim=OptimConfig(batch_size=BATCH),
  seed=SEED,
)


def splits(*, streamed=False, outliers_streamed=False):
  """Known images and outliers, as arrays or on disk."""
  known, outliers = find_splits(CONFIG, find_known_set(CONFIG), data_dir=None)
  pipelines = {False: "resident", True: "stream"}
  return (
    known._replace(pipeline=pipelines[streamed]),
    outliers._replace(pipeline=pipelines[outliers_streamed]),
  )


def open_pipeline(data_dir, *splits):
  return make_pipeline(CONFIG, *((split, split.open(data_dir)) for split in splits))


def batches_of(data_dir, *, start=0, count=3, **streamed):
  pipeline = open_pipeline(data_dir, *splits(**streamed))
  drawn = itertools.islice(pipeline.draws(start), count)
  return [pipeline.fetch(pipeline.source, draw) for draw in drawn]


@pytest.mark.slow
def test_outliers_have_an_order_of_their_own(digits_dir):
  known, outliers = splits()
  batches = batches_of(digits_dir, count=12)
  with_alone = open_pipeline(digits_dir, known)
  for batch, draw in zip(batches, with_alone.draws(0), strict=False):
    # What is known is drawn as without outliers.
    alone = with_alone.fetch(with_alone.source, draw)
    np.testing.assert_array_equal(batch.images, alone.images)
    np.testing.assert_array_equal(batch.labels, alone.labels)
    assert alone.outliers is None
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
  known, _ = splits()
  first, second = next(open_pipeline(digits_dir, known, known).draws(0))
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


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_blank_split_makes_the_program_of_the_real_one(digits_dir, streamed, outliers):
  known, others = splits(streamed=streamed, outliers_streamed=streamed)
  known = known._replace(reference=data.Reference("mnist_5k", None))
  chosen = (known, others) if outliers else (known,)
  real = open_pipeline(digits_dir, *chosen)
  blank = make_pipeline(CONFIG, *((split, split.blank()) for split in chosen))
  drawn = next(real.draws(0)), next(blank.draws(0))
  chex.assert_trees_all_equal_shapes_and_dtypes(real.source, blank.source)
  chex.assert_trees_all_equal_shapes_and_dtypes(*drawn)
  of_real, of_blank = (
    jax.jit(pipeline.fetch).lower(pipeline.source, draw).as_text()
    for pipeline, draw in zip((real, blank), drawn, strict=True)
  )
  assert of_real == of_blank


def test_a_blank_split_takes_no_memory():
  known, _ = splits()
  images, labels = known.blank()
  assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
  assert images.shape == (len(labels), *known.spec.example_shape)
  assert len(labels) == known.spec.splits["train"] == 1500
  assert not any(images.strides)
  assert not any(labels.strides)
