import dataclasses
import itertools
import multiprocessing
import threading
import time

import jax
import numpy as np
import pytest

from isomax_jax.data import load, open_split, resident, split_validation, stream

SEED, BATCH = 5, 64


@pytest.fixture(scope="module")
def digits(data_dir):
  """Nine digits to train on, as arrays and on disk: 1,080 of them."""
  splits = [
    split_validation(
      read("mnist_5k", "train", classes=(9, 1, 2, 3, 4, 5, 6, 7, 8), data_dir=data_dir), 0.2, seed=1
    )
    for read in (load, open_split)
  ]
  return tuple(train for train, _ in splits)


def resident_batches(loaded, start=0):
  source = resident.make_source(*map(np.asarray, loaded))
  for draw in resident.draws(len(loaded.labels), batch_size=BATCH, seed=SEED, start=start):
    yield jax.tree.map(np.asarray, resident.fetch(source, draw))


def assert_same(batches, expected, count):
  for batch, other in zip(itertools.islice(batches, count), expected, strict=False):
    for part, expected_part in zip(*map(jax.tree.leaves, (batch, other)), strict=True):
      assert part.dtype == expected_part.dtype
      np.testing.assert_array_equal(part, expected_part)


@pytest.mark.parametrize("start", [0, 15, 100])
def test_the_same_seed_gives_the_same_batches_as_resident(start, digits):
  loaded, stored = digits
  batches = stream.draws(stored, batch_size=BATCH, seed=SEED, start=start)
  # 1,080 examples make 16.9 batches of 64: an epoch ends within a batch.
  assert_same(batches, resident_batches(loaded, start), 20)
  batches.close()


def test_fetch_changes_nothing(digits):
  batch = next(stream.draws(digits[1], batch_size=BATCH, seed=SEED))
  assert stream.fetch((), batch) is batch


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_each_batch(count, digits):
  whole = stream.draws(digits[1], batch_size=BATCH, seed=SEED, start=14)
  parts = [
    stream.draws(
      digits[1], batch_size=BATCH, seed=SEED, start=14, process_index=index, process_count=count
    )
    for index in range(count)
  ]
  joined = (
    jax.tree.map(lambda *leaves: np.concatenate(leaves), *each) for each in zip(*parts, strict=True)
  )
  assert_same(joined, whole, 5)


@pytest.mark.slow
def test_worker_processes_read_the_same(digits):
  batches = stream.draws(digits[1], batch_size=BATCH, seed=SEED, start=3, workers=2)
  assert_same(batches, resident_batches(digits[0], 3), 6)
  batches.close()


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_stream(digits):
  before = set(multiprocessing.active_children())
  batches = stream.draws(digits[1], batch_size=BATCH, seed=SEED, workers=1)
  next(batches)
  (worker,) = set(multiprocessing.active_children()) - before
  worker.kill()
  with pytest.raises(
    ChildProcessError, match=r"^a process that reads examples of mnist_5k has died"
  ):
    list(itertools.islice(batches, 1000))


def test_threads_end_with_the_stream(digits):
  before = set(threading.enumerate())  # Those of other tests may end meanwhile.
  batches = stream.draws(digits[1], batch_size=BATCH, seed=SEED)
  next(batches)
  assert set(threading.enumerate()) - before
  batches.close()
  deadline = time.monotonic() + 20
  while set(threading.enumerate()) - before and time.monotonic() < deadline:
    time.sleep(0.01)
  assert not set(threading.enumerate()) - before


def test_bad_image_ends_the_stream(digits):
  stored = digits[1]
  bad = dataclasses.replace(
    stored, spec=dataclasses.replace(stored.spec, example_shape=(28, 28, 3))
  )
  message = r"^mnist_5k train, example [0-9]+: image must be uint8 \(28, 28, 3\), got uint8"
  with pytest.raises(ValueError, match=message):
    next(stream.draws(bad, batch_size=BATCH, seed=SEED))


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"batch_size": 0}, "batch_size must be a positive, finite number, got 0"),
    (
      {"batch_size": 64, "process_index": 0, "process_count": 3},
      "batch_size must be a multiple of the 3 processes, got 64",
    ),
  ],
)
def test_batch_size_is_checked(options, message, digits):
  with pytest.raises(ValueError, match=f"^{message}$"):
    next(stream.draws(digits[1], seed=0, **options))


def test_no_examples(digits):
  nothing = digits[1].take(np.zeros(1080, dtype=bool))
  with pytest.raises(ValueError, match=r"^number of examples must be a positive, finite number"):
    next(stream.draws(nothing, batch_size=4, seed=0))


def test_without_grain_the_package_is_named(digits, hide):
  hide("grain")
  message = r"^the package grain is missing, needed to stream examples; pip install 'isomax_jax\["
  with pytest.raises(ModuleNotFoundError, match=message):
    next(stream.draws(digits[1], batch_size=BATCH, seed=SEED))
