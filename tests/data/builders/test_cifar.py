import numpy as np
import pytest

from isomax_jax.data import SPECS, load, prepare
from tests.data import miniature

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"


@pytest.fixture
def prepare_members(tmp_path, shrink):
  """Prepare CIFAR-10 from an archive of given members."""
  shrink("cifar10", train=50, test=10)

  def prepare_cifar10(members):
    miniature.write_tar(tmp_path / ARCHIVE, members)
    return prepare("cifar10", manual_dir=tmp_path, data_dir=tmp_path / "sets")

  return prepare_cifar10


@pytest.mark.parametrize(
  ("name", "splits"),
  [("cifar10", {"train": 50, "test": 10}), ("cifar100", {"train": 200, "test": 100})],
)
def test_every_image_and_label_is_read_back(name, splits, tmp_path, shrink):
  shrink(name, **splits)
  if name == "cifar10":
    content = miniature.cifar10(tmp_path)
  else:
    content = miniature.cifar100(tmp_path, SPECS[name].class_names)
  prepare(name, manual_dir=tmp_path, data_dir=tmp_path / "sets")
  for split, (images, labels) in content.items():
    examples = load(name, split, data_dir=tmp_path / "sets")
    np.testing.assert_array_equal(examples.images, images)
    np.testing.assert_array_equal(examples.labels, labels)


def test_members_of_other_places_are_passed_over(prepare_members):
  members, _ = miniature.cifar10_members()
  prepare_members(
    {"../evil.bin": b"x", "/etc/passwd": b"x", f"{FOLDER}/readme.html": b"", **members}
  )


@pytest.mark.parametrize(
  ("file", "change", "message"),
  [
    ("data_batch_3.bin", None, rf"must hold {FOLDER}/data_batch_3\.bin: get the publisher's"),
    ("batches.meta.txt", None, rf"must hold {FOLDER}/batches\.meta\.txt: get"),
    (
      "batches.meta.txt",
      lambda content: content.replace(b"cat", b"tiger"),
      rf": {FOLDER}/batches\.meta\.txt must name airplane, automobile, .*, truck$",
    ),
    (
      "data_batch_2.bin",
      lambda content: content[:-1],
      r": data_batch_2\.bin must be rows of 3,073 bytes, got 30,729 bytes: get the archive anew$",
    ),
    (
      "test_batch.bin",
      lambda content: content[: 3073 * 4] + b"\x0a" + content[3073 * 4 + 1 :],
      r": test_batch\.bin, row 4: label must be in 0\.\.9, got 10$",
    ),
    ("data_batch_5.bin", lambda content: content[3073:], r" must hold 50 train images, got 49$"),
    (
      "data_batch_1.bin",
      lambda content: bytes([(content[0] + 1) % 10]) + content[1:],
      r" must hold 5 train images of each class, got 4 to 6$",
    ),
  ],
)
def test_bad_archive(file, change, message, prepare_members, tmp_path):
  members, _ = miniature.cifar10_members()
  content = members.pop(f"{FOLDER}/{file}")
  if change is not None:
    members[f"{FOLDER}/{file}"] = change(content)
  with pytest.raises(ValueError, match=rf"^{tmp_path / ARCHIVE}.*{message}"):
    prepare_members(members)
  assert list((tmp_path / "sets").iterdir()) == []


def test_label_of_a_class_too_many_is_refused(tmp_path, shrink):
  shrink("cifar100", train=200, test=100)
  miniature.cifar100(tmp_path, SPECS["cifar100"].class_names)
  members = {
    "cifar-100-binary/fine_label_names.txt": "\n".join(SPECS["cifar100"].class_names).encode()
  }
  images = miniature.random_images(1)
  for split in ("train", "test"):
    members[f"cifar-100-binary/{split}.bin"] = miniature.rows(images, [3], [100])
  miniature.write_tar(tmp_path / "cifar-100-binary.tar.gz", members)
  with pytest.raises(ValueError, match=r"train\.bin, row 0: label must be in 0\.\.99, got 100$"):
    prepare("cifar100", manual_dir=tmp_path, data_dir=tmp_path / "sets")
