import zipfile

import numpy as np
import pytest

from isomax_jax.data import load, prepare
from tests.data import miniature

NAME = "tiny_imagenet_resize"
ARCHIVE = "tiny-imagenet-200.zip"


@pytest.fixture(autouse=True)
def few_images(shrink):
  for configuration in ("nearest", "antialiased"):
    shrink(f"{NAME}/{configuration}", test=12)


def prepared(configuration, folder):
  prepare(f"{NAME}/{configuration}", manual_dir=folder, data_dir=folder / "sets")
  return load(f"{NAME}/{configuration}", "test", data_dir=folder / "sets")


def bicubic_half(images):
  """Halve images with the cubic kernel (a = -.5) stretched to two pixels, in float64."""

  def kernel(x):
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))

  size = images.shape[1]
  centres = 2 * np.arange(size // 2) + 1
  weights = kernel((np.arange(size)[None] + 0.5 - centres[:, None]) / 2)
  weights /= weights.sum(axis=1, keepdims=True)
  halved = np.einsum("rh,cw,nhwk->nrck", weights, weights, images.astype(np.float64))
  return np.clip(halved, 0, 255)


@pytest.mark.parametrize("name", [ARCHIVE, "tiny-imagenet-200-test.zip"])
def test_nearest_takes_one_of_four_pixels(name, tmp_path):
  images = miniature.tiny_imagenet(tmp_path, name=name)
  examples = prepared("nearest", tmp_path)
  np.testing.assert_array_equal(examples.images, images[:, 1::2, 1::2])
  assert (examples.labels == 0).all()


def test_antialiased_weighs_the_neighbours(tmp_path):
  images = miniature.tiny_imagenet(tmp_path)
  examples = prepared("antialiased", tmp_path)
  error = np.abs(examples.images - bicubic_half(images))
  # Pillow rounds and clips after each of the two directions.
  assert error.max() < 2
  assert error.mean() < 0.4


def replace(folder, number, content):
  """Write the archive anew with another image, or without it."""
  miniature.tiny_imagenet(folder)
  member = f"tiny-imagenet-200/test/images/test_{number}.JPEG"
  with zipfile.ZipFile(folder / ARCHIVE) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  members[member] = content
  with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
    for name, part in members.items():
      if part is not None:
        archive.writestr(name, part)
  return f"^{folder / ARCHIVE}: {member}"


def test_missing_image(tmp_path):
  replace(tmp_path, 5, None)
  message = rf"^{tmp_path / ARCHIVE} must hold tiny-imagenet-200/test/images/test_5\.JPEG: get"
  with pytest.raises(ValueError, match=message):
    prepared("nearest", tmp_path)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", r" must not be empty: get the publisher's archive anew$"),
    (b"no image", r" cannot be decoded \(.*\): get the archive anew$"),
    (
      miniature.encoded(miniature.random_images(1, side=64)[0], "JPEG")[:-200],
      r" cannot be decoded \(image file is truncated.*\): get the archive anew$",
    ),
    (
      miniature.encoded(miniature.random_images(1, side=63)[0], "JPEG"),
      " must be 64 x 64 pixels, got 63 x 63$",
    ),
    (bytes(2**20 + 1), " must have at most 1,048,576 bytes, got 1,048,577$"),
  ],
)
def test_bad_image_is_named_and_never_skipped(content, message, tmp_path):
  place = replace(tmp_path, 7, content)
  with pytest.raises(ValueError, match=f"{place}{message}"):
    prepared("nearest", tmp_path)
  assert list((tmp_path / "sets").iterdir()) == []


def test_archive_cut_short(tmp_path):
  miniature.tiny_imagenet(tmp_path)
  content = (tmp_path / ARCHIVE).read_bytes()
  (tmp_path / ARCHIVE).write_bytes(content[: len(content) // 2])
  message = (
    rf"^{tmp_path / ARCHIVE} is damaged or cut short \(File is not a zip file\): get it anew$"
  )
  with pytest.raises(ValueError, match=message):
    prepared("antialiased", tmp_path)
