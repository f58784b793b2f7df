import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from isomax_jax.data import SPECS, Examples, load, split_validation
from isomax_jax.data.builders import photos


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
      {"image_shape": (28, 14, 2)},
      r"photos test, example 0: image must be uint8 \(28, 14, 2\), got uint8 \(28, 28, 1\)",
    ),
    (
      {"class_names": ("china",)},
      r"photos test, example 330: label must be in 0\.\.0, got 1",
    ),
  ],
)
def test_stored_set_must_be_as_specified(change, message, data_dir, monkeypatch):
  monkeypatch.setitem(SPECS, "photos", dataclasses.replace(SPECS["photos"], **change))
  with pytest.raises(ValueError, match=f"^{message}$"):
    load("photos", "test", data_dir=data_dir)


@pytest.mark.parametrize(
  ("image", "message"),
  [
    (b"no PNG", "image cannot be decoded"),
    (
      Image.fromarray(np.zeros((28, 28), dtype=np.uint16)),
      r"image must be uint8 \(28, 28, 1\), got uint16 \(28, 28, 1\)",
    ),
  ],
)
def test_bad_stored_image(image, message, tmp_path, monkeypatch):
  whole = photos.Builder._generate_examples

  def one_bad(self, images, labels):
    for position, example in whole(self, images, labels):
      yield position, {**example, "image": image} if position == 7 else example

  monkeypatch.setattr(photos.Builder, "_generate_examples", one_bad)
  with pytest.raises(ValueError, match=f"^photos test, example 7: {message}$"):
    load("photos", "test", data_dir=tmp_path)


def test_damaged_file_is_refused(tmp_path):
  good = load("photos", "test", data_dir=tmp_path)
  file = next((tmp_path / "photos" / "1.0.0").glob("*.array_record*"))
  content = bytearray(file.read_bytes())
  content[len(content) // 3] ^= 1
  file.write_bytes(content)
  with pytest.raises(ValueError, match=r"^photos test in .* cannot be read, delete it and retry: "):
    load("photos", "test", data_dir=tmp_path)
  content[len(content) // 3] ^= 1
  file.write_bytes(content)
  np.testing.assert_array_equal(load("photos", "test", data_dir=tmp_path).images, good.images)


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


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fraction_out_of_range(fraction):
  with pytest.raises(ValueError, match=rf"^fraction must be in \[0, 1\), got {fraction}$"):
    split_validation(numbered((4, 4)), fraction, seed=0)
