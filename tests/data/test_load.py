import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from isomax_jax.data import SPECS, Examples, load, open_split, split_validation


@pytest.mark.parametrize(
  ("name", "split", "count"),
  [
    ("mnist_5k", "train", 1500),
    ("mnist_5k", "test", 3500),
    ("mnist_5k", "all", 5000),
    ("letters", "all", 630),
    ("photos", "test", 660),
  ],
)
def test_types_and_shapes(name, split, count, data_dir):
  images, labels = load(name, split, data_dir=data_dir)
  assert isinstance(images, np.ndarray)
  assert (images.dtype, images.shape) == (np.uint8, (count, 28, 28, 1))
  assert (labels.dtype, labels.shape) == (np.int32, (count,))


def test_all_is_every_split_in_order(data_dir):
  train, test, whole = (
    load("mnist_5k", split, data_dir=data_dir) for split in ("train", "test", "all")
  )
  for part in range(2):
    np.testing.assert_array_equal(whole[part], np.concatenate([train[part], test[part]]))


def test_classes_are_kept_and_renumbered(data_dir):
  whole = load("mnist_5k", "train", data_dir=data_dir)
  some = load("mnist_5k", "train", classes=[9, 0, 4], data_dir=data_dir)
  keep = [index for index, label in enumerate(whole.labels) if label in (9, 0, 4)]
  np.testing.assert_array_equal(some.images, whole.images[keep])
  assert some.labels.dtype == np.int32
  assert some.labels.tolist() == [[9, 0, 4].index(whole.labels[index]) for index in keep]


def test_classes_are_checked(data_dir):
  with pytest.raises(ValueError, match=r"^classes of letters must be in 0\.\.29, got 30$"):
    load("letters", "test", classes=[0, 30], data_dir=data_dir)
  with pytest.raises(ValueError, match=r"^classes of letters must be in 0\.\.29, got -1$"):
    load("letters", "test", classes=[-1], data_dir=data_dir)
  with pytest.raises(ValueError, match=r"^classes of letters must be one or more, got none$"):
    load("letters", "test", classes=[], data_dir=data_dir)
  with pytest.raises(ValueError, match=r"^classes of letters must differ, got 2 twice$"):
    load("letters", "test", classes=np.array([2, 1, 2]), data_dir=data_dir)
  with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
    load("letters", "test", classes=[1.0], data_dir=data_dir)


def test_unknown_split(data_dir):
  message = "^unknown split of letters 'train'; known: all, test$"
  with pytest.raises(ValueError, match=message):
    load("letters", "train", data_dir=data_dir)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"splits": {"test": 659}}, "photos test must have 659 examples, got 660"),
    (
      {"example_shape": (28, 14, 2)},
      r"photos test: images must be uint8 \(660, 28, 14, 2\), got uint8 \(660, 28, 28, 1\)",
    ),
    (
      {"class_names": ("china",)},
      r"photos test, example 330: label must be in 0\.\.0, got 1",
    ),
  ],
)
def test_stored_set_must_be_as_specified(change, message, data_dir, monkeypatch):
  monkeypatch.setitem(SPECS._entries, "photos", dataclasses.replace(SPECS["photos"], **change))
  with pytest.raises(ValueError, match=f"^{message}$"):
    load("photos", "test", data_dir=data_dir)


def test_what_must_be_fetched_is_not_fetched_by_the_way(tmp_path):
  message = rf"^cifar10 is not prepared in {tmp_path}: run isomax-jax prepare cifar10, or copy "
  for function in (load, open_split):
    with pytest.raises(ValueError, match=message):
      function("cifar10", "test", data_dir=tmp_path)


def test_without_the_decoded_arrays_records_are_read(data_dir, tmp_path):
  folder = shutil.copytree(data_dir / "photos", tmp_path / "photos") / "1.0.0"
  (folder / "decoded.json").unlink()
  for path in folder.glob("*.npy"):
    path.unlink()
  for part, expected in zip(
    load("photos", "test", data_dir=tmp_path),
    load("photos", "test", data_dir=data_dir),
    strict=True,
  ):
    assert part.dtype == expected.dtype
    np.testing.assert_array_equal(part, expected)


def test_damaged_arrays_are_refused(data_dir, tmp_path):
  path = shutil.copytree(data_dir / "photos", tmp_path / "photos") / "1.0.0" / "test-images.npy"
  content = bytearray(path.read_bytes())
  content[len(content) // 3] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf"^{path} is damaged \(its checksum is wrong\): delete "):
    load("photos", "test", data_dir=tmp_path)


def numbered(counts):
  """Make examples whose pixels tell their index."""
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  labels = labels[np.random.default_rng(0).permutation(labels.size)]
  indices = np.arange(labels.size, dtype=np.uint8)
  return Examples(np.broadcast_to(indices[:, None, None, None], (labels.size, 2, 2, 1)), labels)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 1 / 3, 0.5])
def test_validation_is_a_share_of_each_class(fraction):
  counts = (15, 30, 2, 1)
  examples = numbered(counts)
  train, validation = split_validation(examples, fraction, seed=5)
  expected = [round(fraction * count) for count in counts]
  assert np.bincount(validation.labels, minlength=4).tolist() == expected
  indices = [part.images[:, 0, 0, 0] for part in (train, validation)]
  assert sorted(itertools.chain(*indices)) == list(range(sum(counts)))
  for part, index in zip((train, validation), indices, strict=True):
    assert (np.diff(index.astype(int)) > 0).all()
    np.testing.assert_array_equal(part.labels, examples.labels[index])
    assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int32)


def test_validation_depends_on_the_seed_alone():
  examples = numbered((20, 20))
  first, again, other = (split_validation(examples, 0.5, seed=seed)[1] for seed in (0, 0, 1))
  np.testing.assert_array_equal(first.images, again.images)
  assert (first.images != other.images).any()


def test_quickstart_split_of_the_digits(data_dir):
  train, validation = split_validation(load("mnist_5k", "train", data_dir=data_dir), 1 / 3, seed=0)
  assert np.bincount(train.labels).tolist() == [100] * 10
  assert np.bincount(validation.labels).tolist() == [50] * 10


def test_stored_examples_are_split_alike(data_dir):
  splits = [
    split_validation(read("mnist_5k", "train", classes=(3, 1), data_dir=data_dir), 0.2, seed=4)
    for read in (load, open_split)
  ]
  for loaded, stored in zip(*splits, strict=True):
    read = stored.read(slice(None))
    np.testing.assert_array_equal(read.images, loaded.images)
    np.testing.assert_array_equal(read.labels, loaded.labels)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fraction_out_of_range(fraction):
  with pytest.raises(ValueError, match=rf"^fraction must be in \[0, 1\), got {fraction}$"):
    split_validation(numbered((4, 4)), fraction, seed=0)
