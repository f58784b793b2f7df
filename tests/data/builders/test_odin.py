import numpy as np
import pytest

from isomax_jax.data import load, prepare
from tests.data import miniature

SETS = [("odin_imagenet_resize", "Imagenet_resize"), ("odin_lsun_resize", "LSUN_resize")]


@pytest.mark.parametrize(("name", "folder"), SETS)
def test_every_image_is_read_back_sorted_by_name(name, folder, tmp_path, shrink):
  shrink(name, test=6)
  images = miniature.odin(tmp_path, folder)
  prepare(name, manual_dir=tmp_path, data_dir=tmp_path / "sets")
  examples = load(name, "test", data_dir=tmp_path / "sets")
  np.testing.assert_array_equal(examples.images, images)
  assert (examples.labels == 0).all()


@pytest.mark.parametrize(
  ("image", "message"),
  [
    (miniature.random_images(1)[0][..., 0], r"0\.png must be in colour \(RGB\), got mode L$"),
    (miniature.random_images(1, side=31)[0], r"0\.png must be 32 x 32 pixels, got 31 x 31$"),
    (None, r"0\.png cannot be decoded \(.*\): get the archive anew$"),
  ],
)
def test_bad_image_is_named(image, message, tmp_path, shrink):
  shrink("odin_lsun_resize", test=1)
  content = b"\x89PNG no more" if image is None else miniature.encoded(image, "PNG")
  miniature.write_tar(tmp_path / "LSUN_resize.tar.gz", {"LSUN_resize/0.png": content})
  with pytest.raises(ValueError, match=rf"^{tmp_path}/LSUN_resize\.tar\.gz: LSUN_resize/{message}"):
    prepare("odin_lsun_resize", manual_dir=tmp_path, data_dir=tmp_path / "sets")


def test_number_of_images(tmp_path, shrink):
  shrink("odin_lsun_resize", test=7)
  miniature.odin(tmp_path, "LSUN_resize")
  message = rf"^{tmp_path}/LSUN_resize\.tar\.gz must hold 7 images, got 6$"
  with pytest.raises(ValueError, match=message):
    prepare("odin_lsun_resize", manual_dir=tmp_path, data_dir=tmp_path / "sets")
