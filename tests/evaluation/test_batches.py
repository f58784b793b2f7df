import chex
import jax
import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.detectors.toolkit import training_batches
from isomax_jax.evaluation.batches import FitBatches
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.evaluation.predict import forward
from isomax_jax.runs import load


@pytest.fixture(scope="module")
def classifier(trained_run):
  return load(trained_run).classifier


@pytest.mark.parametrize("read", [data.load, data.open_split])
def test_batches_are_the_examples_with_their_outputs(classifier, digits_dir, read):
  batches = FitBatches(classifier, read("mnist_5k", "train", classes=(0, 3), data_dir=digits_dir))
  parts = [jax.tree.map(np.array, batch) for batch in batches]
  images, labels, outputs = jax.tree.map(lambda *each: np.concatenate(each), *parts)
  examples = data.load("mnist_5k", "train", classes=(0, 3), data_dir=digits_dir)
  np.testing.assert_array_equal(images, examples.images.astype(np.float32) / 255)
  np.testing.assert_array_equal(labels, examples.labels)
  whole = pass_through(classifier, examples).outputs
  chex.assert_trees_all_close(outputs, whole, rtol=1e-5, atol=1e-5)


def test_what_a_fit_changes_no_other_one_is_given(classifier, digits_dir):
  batches = FitBatches(
    classifier, data.load("mnist_5k", "test", classes=(0, 3), data_dir=digits_dir)
  )
  before = list(batches)
  for batch in batches:
    for array in jax.tree.leaves(batch):
      array[...] = 0
  chex.assert_trees_all_equal(list(batches), before)
  for batch in training_batches(batches, detector="mine"):
    for array in batch:
      array[...] = 0
  chex.assert_trees_all_equal(list(batches), before)


def test_images_go_through_the_network_once(classifier, digits_dir, monkeypatch):
  seen = []

  def counted(classifier, images):
    seen.append(len(images))
    return forward(classifier, images)

  examples = data.load("mnist_5k", "train", data_dir=digits_dir)
  monkeypatch.setattr("isomax_jax.evaluation.batches.forward", counted)
  batches = FitBatches(classifier, examples)
  first, second = (list(batches) for _ in range(2))
  chex.assert_trees_all_equal(first, second)
  assert [len(labels) for _, labels, _ in first] == [1024, 476]
  assert 1500 <= sum(seen) < 1500 + seen[0]  # The last batch is padded.
