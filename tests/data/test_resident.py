import itertools

import jax
import numpy as np
import pytest

from isomax_jax.data import resident


def permutations(count, seed):
  """Concatenate the epochs' permutations, one NumPy generator an epoch."""
  for epoch in itertools.count():
    yield from np.random.default_rng([seed, epoch]).permutation(count)


@pytest.mark.parametrize("count", [1, 5, 7, 20])
@pytest.mark.parametrize("batch_size", [1, 4, 10])
@pytest.mark.parametrize("start", [0, 3, 11])
def test_steps_are_parts_of_a_stream_of_permutations(count, batch_size, start):
  stream = permutations(count, seed=3)
  skipped = list(itertools.islice(stream, start * batch_size))
  assert len(skipped) == start * batch_size
  draws = resident.draws(count, batch_size=batch_size, seed=3, start=start)
  for step, draw in enumerate(itertools.islice(draws, 8), start):
    expected = list(itertools.islice(stream, batch_size))
    assert draw.indices.tolist() == expected
    assert (draw.indices.dtype, draw.positions.dtype) == (np.int32, np.int32)
    assert draw.positions.tolist() == list(range(batch_size))
    indices = resident.step_indices(count, batch_size=batch_size, seed=3, step=step)
    np.testing.assert_array_equal(indices, expected)


def test_drawn_indices_are_the_callers_own():
  first = resident.step_indices(6, batch_size=6, seed=0, step=0)
  expected = first.copy()
  first[:] = 0
  np.testing.assert_array_equal(resident.step_indices(6, batch_size=6, seed=0, step=0), expected)


def test_order_of_a_seed_never_changes():
  indices = resident.step_indices(10, batch_size=10, seed=0, step=1)
  assert indices.tolist() == [9, 1, 3, 8, 7, 6, 0, 4, 2, 5]


def test_fetch_gathers_images_and_labels():
  images = np.random.default_rng(0).integers(0, 256, (9, 4, 3, 1), dtype=np.uint8)
  source = resident.make_source(jax.numpy.asarray(images), jax.numpy.arange(9, dtype=np.int32) * 2)
  draw = next(resident.draws(9, batch_size=4, seed=1))
  batch = jax.jit(resident.fetch)(source, draw)
  np.testing.assert_array_equal(batch.images, images[draw.indices])
  np.testing.assert_array_equal(batch.labels, draw.indices * 2)
  np.testing.assert_array_equal(batch.positions, np.arange(4))
  assert batch.images.dtype == np.uint8


@pytest.mark.parametrize(("count", "batch_size"), [(0, 4), (-1, 4), (4, 0)])
def test_counts_are_positive(count, batch_size):
  with pytest.raises(ValueError, match="must be a positive, finite number"):
    next(resident.draws(count, batch_size=batch_size, seed=0))


def test_processes_draw_each_example_once_an_epoch():
  """Six epochs of 40 examples in batches of 12, by three processes."""
  streams = [
    resident.draws(40, batch_size=12, seed=3, process_index=index, process_count=3)
    for index in range(3)
  ]
  whole = resident.draws(40, batch_size=12, seed=3)
  seen = []
  for _ in range(20):
    parts = [next(stream) for stream in streams]
    expected = next(whole)
    for field in ("indices", "positions"):
      together = np.concatenate([getattr(part, field) for part in parts])
      np.testing.assert_array_equal(together, getattr(expected, field))
    seen.extend(np.concatenate([part.indices for part in parts]))
  assert all(sorted(seen[start : start + 40]) == list(range(40)) for start in range(0, 240, 40))


def test_a_batch_that_does_not_divide_by_the_processes_is_refused():
  with pytest.raises(ValueError, match="a multiple of the 3 processes, got 8"):
    next(resident.draws(40, batch_size=8, seed=0, process_index=0, process_count=3))
