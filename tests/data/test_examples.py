import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from isomax_jax.data import SPECS, load, open_split, prepare
from isomax_jax.data.builders import photos


@pytest.fixture
def records(data_dir, tmp_path):
  """The photos without their decoded arrays."""
  folder = shutil.copytree(data_dir / "photos", tmp_path / "photos") / "1.0.0"
  (folder / "decoded.json").unlink()
  return folder


def test_some_examples_in_any_order(data_dir):
  whole = load("photos", "test", data_dir=data_dir)
  stored = open_split("photos", "test", data_dir=data_dir)
  np.testing.assert_array_equal(stored.labels, whole.labels)
  positions = np.array([659, 3, 3, 400])
  some = stored.read(positions)
  np.testing.assert_array_equal(some.images, whole.images[positions])
  assert some.images.dtype == np.uint8
  np.testing.assert_array_equal(some.labels, whole.labels[positions])


def test_chosen_examples(data_dir):
  whole = load("mnist_5k", "train", classes=(7, 2), data_dir=data_dir)
  stored = open_split("mnist_5k", "train", classes=(7, 2), data_dir=data_dir)
  chosen = np.arange(300) % 3 == 1
  for part, expected in zip(stored.take(chosen).read(slice(None)), whole.take(chosen), strict=True):
    np.testing.assert_array_equal(part, expected)
  assert len(stored.read(slice(None)).images) == 300


def test_more_than_one_portion(data_dir, monkeypatch):
  monkeypatch.setattr("isomax_jax.data.examples._RECORDS_AT_A_TIME", 100)
  whole = load("photos", "test", data_dir=data_dir)
  stored = open_split("photos", "test", data_dir=data_dir)
  np.testing.assert_array_equal(stored.read(slice(None)).images, whole.images)
  assert stored.take(np.zeros(660, dtype=bool)).read(slice(None)).images.shape == (0, 28, 28, 1)


def test_it_can_be_sent_to_another_process(data_dir):
  stored = open_split("photos", "test", data_dir=data_dir)
  sent = pickle.loads(pickle.dumps(stored))
  np.testing.assert_array_equal(sent.read(np.arange(5)).images, stored.read(np.arange(5)).images)


@pytest.mark.parametrize("split", ["train", "all"])
def test_unknown_split(split, data_dir):
  with pytest.raises(ValueError, match=f"^unknown split of photos '{split}'; known: test$"):
    open_split("photos", split, data_dir=data_dir)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"splits": {"test": 659}}, "photos test must have 659 examples, got 660"),
    (
      {"example_shape": (28, 14, 2)},
      r"photos test, example 5: image must be uint8 \(28, 14, 2\), got uint8 \(28, 28, 1\)",
    ),
    (
      {"class_names": ("china",)},
      r"photos test, example 330: label must be in 0\.\.0, got 1",
    ),
  ],
)
def test_stored_set_must_be_as_specified(change, message, records, monkeypatch):
  monkeypatch.setitem(SPECS._entries, "photos", dataclasses.replace(SPECS["photos"], **change))
  with pytest.raises(ValueError, match=f"^{message}$"):
    open_split("photos", "test", data_dir=records.parents[1]).read(np.array([5]))


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
def test_bad_image_is_seen_when_it_is_read_back(image, message, tmp_path, monkeypatch):
  whole = photos.Builder._generate_examples

  def one_bad(self, images, labels):
    for position, example in whole(self, images, labels):
      yield position, {**example, "image": image} if position == 7 else example

  monkeypatch.setattr(photos.Builder, "_generate_examples", one_bad)
  with pytest.raises(ValueError, match=f"^photos test, example 7: {message}$"):
    prepare("photos", data_dir=tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_damaged_records_are_refused(records, data_dir):
  file = next(records.glob("*.array_record*"))
  content = bytearray(file.read_bytes())
  content[len(content) // 3] ^= 1
  file.write_bytes(content)
  message = f"^{records} cannot be read, delete it and prepare the set again: "
  for read in (load, open_split):
    with pytest.raises(ValueError, match=message):
      read("photos", "test", data_dir=records.parents[1])
  # Labels that were kept beside the records let it be opened; the images are still verified.
  shutil.copy(data_dir / "photos" / "1.0.0" / "decoded.json", records)
  stored = open_split("photos", "test", data_dir=records.parents[1])
  with pytest.raises(ValueError, match=message):
    stored.read(slice(None))


READERS = ("tensorflow_datasets", "array_record", "PIL")


@pytest.fixture
def decoded(data_dir, tmp_path):
  """The photos in a place of their own."""
  return shutil.copytree(data_dir / "photos", tmp_path / "photos") / "1.0.0"


def test_what_is_decoded_is_read_without_what_reads_records(data_dir, hide):
  whole = load("mnist_5k", "all", classes=(7, 2), data_dir=data_dir)
  hide(*READERS)
  for part, expected in zip(
    load("mnist_5k", "all", classes=(7, 2), data_dir=data_dir), whole, strict=True
  ):
    np.testing.assert_array_equal(part, expected)


def lose_a_file(folder):
  (folder / "test-images.npy").unlink()
  return "test-images.npy"


def lose_an_entry(folder):
  manifest = json.loads((folder / "decoded.json").read_text())
  del manifest["test-labels"]
  (folder / "decoded.json").write_text(json.dumps(manifest))
  return "test-labels.npy"


def lose_the_manifest(folder):
  (folder / "decoded.json").unlink()
  return "test-images.npy and test-labels.npy"


@pytest.mark.parametrize("package", READERS)
@pytest.mark.parametrize("lose", [lose_a_file, lose_an_entry, lose_the_manifest])
def test_a_decoded_split_that_is_missing_is_named(lose, package, decoded, hide):
  lost = lose(decoded)
  hide(package)
  message = (
    rf"^photos: the decoded split test is not in {decoded} \({lost}, or what decoded.json says of "
    r"it\): copy the whole folder from where the set was prepared, or delete it and prepare the "
    r"set again where isomax_jax\[train\] is installed$"
  )
  with pytest.raises(ValueError, match=message):
    load("photos", "test", data_dir=decoded.parents[1])


def test_a_damaged_manifest_is_called_damaged_without_what_reads_records(decoded, hide):
  (decoded / "decoded.json").write_text("{")
  hide(*READERS)
  with pytest.raises(ValueError, match=rf"^{decoded}/test-images.npy is damaged \("):
    load("photos", "test", data_dir=decoded.parents[1])


@pytest.mark.parametrize("package", READERS)
@pytest.mark.parametrize("read", [load, open_split])
def test_what_reads_records_is_named_where_it_is_needed(read, package, decoded, hide, monkeypatch):
  """Of a set from some size on the labels alone are kept decoded."""
  monkeypatch.setattr("isomax_jax.data.examples.LARGEST_RESIDENT", 660 * 28 * 28)
  (decoded / "test-images.npy").unlink()
  manifest = json.loads((decoded / "decoded.json").read_text())
  (decoded / "decoded.json").write_text(json.dumps({"test-labels": manifest["test-labels"]}))
  hide(package)
  message = (
    f"^the package {package} is missing, needed to read photos test from its records; "
    r"pip install 'isomax_jax\[train\]' installs it$"
  )
  with pytest.raises(ModuleNotFoundError, match=message) as caught:
    read("photos", "test", data_dir=decoded.parents[1])
  assert caught.value.name == package
