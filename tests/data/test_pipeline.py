"""Batches that carry outliers."""

import itertools

import jax
import numpy as np
import pytest

from isomax_jax.data import Examples, resident, stream
from isomax_jax.data.pipeline import with_outliers

BATCH = 4


def examples(count, first):
  """Examples of which each holds its own number."""
  numbers = np.arange(first, first + count, dtype=np.uint8)
  images = np.broadcast_to(numbers[:, None, None, None], (count, 2, 2, 1)).copy()
  return Examples(images, np.arange(count, dtype=np.int32) % 3)


KNOWN, OTHERS = examples(10, 0), examples(7, 100)
MAKERS = {"resident": resident.make_pipeline, "stream": stream.make_pipeline}


def batches(pipeline, start, count):
  draws = itertools.islice(pipeline.draws(start), count)
  return [jax.tree.map(np.asarray, pipeline.fetch(pipeline.source, draw)) for draw in draws]


@pytest.mark.parametrize("outliers", MAKERS)
@pytest.mark.parametrize("known", MAKERS)
@pytest.mark.parametrize("start", [0, 3])
def test_each_batch_has_what_both_pipelines_give(known, outliers, start):
  ours = MAKERS[known](KNOWN, batch_size=BATCH, seed=0)
  others = MAKERS[outliers](OTHERS, batch_size=BATCH, seed=1)
  both = batches(with_outliers(ours, others), start, 6)
  for batch, own, beside in zip(both, batches(ours, start, 6), batches(others, start, 6),
                                strict=True):  # fmt: skip
    for field in ("images", "labels", "positions"):
      np.testing.assert_array_equal(getattr(batch, field), getattr(own, field))
    np.testing.assert_array_equal(batch.outliers, beside.images)
    assert own.outliers is None
    assert batch.images.max() < 100 <= batch.outliers.min()


def test_it_is_fetched_inside_a_program():
  pipeline = with_outliers(
    resident.make_pipeline(KNOWN, batch_size=BATCH, seed=0),
    resident.make_pipeline(OTHERS, batch_size=BATCH, seed=1),
  )
  draw = next(pipeline.draws(2))
  (plain,) = batches(pipeline, 2, 1)
  fetched = jax.jit(pipeline.fetch)(pipeline.source, draw)
  for part, expected in zip(fetched, plain, strict=True):
    np.testing.assert_array_equal(part, expected)
