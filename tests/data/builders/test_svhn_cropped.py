import numpy as np
import pytest
import scipy.io

from isomax_jax.data import load, prepare
from tests.data import miniature


@pytest.fixture
def prepare_svhn(tmp_path, shrink):
  shrink("svhn_cropped", train=12, test=5)

  def prepare_set():
    return prepare("svhn_cropped", manual_dir=tmp_path, data_dir=tmp_path / "sets")

  return prepare_set


def test_every_image_and_label_is_read_back(prepare_svhn, tmp_path):
  content = miniature.svhn(tmp_path)
  prepare_svhn()
  for split, (images, labels) in content.items():
    examples = load("svhn_cropped", split, data_dir=tmp_path / "sets")
    np.testing.assert_array_equal(examples.images, images)
    np.testing.assert_array_equal(examples.labels, labels)
  assert 0 in examples.labels


def images(count, side=32, dtype=np.uint8):
  return np.zeros((side, side, 3, count), dtype=dtype)


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"X": images(12)}, r" must hold the arrays X and y, y missing$"),
    ({"Z": images(1)}, r" must hold the arrays X and y, X and y missing$"),
    (
      {"X": images(12, side=31), "y": np.ones((12, 1))},
      r": X must be uint8 \[32, 32, 3, n\], got uint8 \[31, 31, 3, 12\]$",
    ),
    (
      {"X": images(12, dtype=np.float64), "y": np.ones((12, 1))},
      r": X must be uint8 \[32, 32, 3, n\], got float64 \[32, 32, 3, 12\]$",
    ),
    ({"X": images(12), "y": np.ones((11, 1))}, r": y must be \[12, 1\], got \[11, 1\]$"),
    (
      {"X": images(12), "y": np.arange(12)[:, None]},
      r", image 0: label must be in 1\.\.10, got 0$",
    ),
    (
      {"X": images(12), "y": np.arange(1, 13)[:, None]},
      r", image 10: label must be in 1\.\.10, got 11$",
    ),
    ({"X": images(11), "y": np.ones((11, 1))}, r" must hold 12 images, got 11$"),
  ],
)
def test_bad_file(arrays, message, prepare_svhn, tmp_path):
  miniature.svhn(tmp_path)
  scipy.io.savemat(tmp_path / "train_32x32.mat", arrays)
  with pytest.raises(ValueError, match=rf"^{tmp_path}/train_32x32\.mat{message}"):
    prepare_svhn()


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_file_cut_short(kept, prepare_svhn, tmp_path):
  miniature.svhn(tmp_path)
  path = tmp_path / "test_32x32.mat"
  content = path.read_bytes()
  path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
  with pytest.raises(ValueError, match=rf"^{path} is damaged or cut short \(.+\): get it anew$"):
    prepare_svhn()
  assert list((tmp_path / "sets").iterdir()) == []
