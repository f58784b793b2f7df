"""Image files that are damaged, or made to fill the memory or to take for ever."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from isomax_jax.data import ImageError, find_images, images, read_image
from isomax_jax.data.builders._images import decode
from tests.fuzz.strategies import damaged, fuzzed, read_or_refuse

COLOUR = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
SHAPE = (12, 12, 3)


def encoded(kind, image=None, **options):
  buffer = io.BytesIO()
  (Image.fromarray(COLOUR) if image is None else image).save(buffer, kind, **options)
  return buffer.getvalue()


exif = Image.Exif()
exif[0x0112], exif[0x010E] = 6, "turned"
FILES = [
  encoded("PNG"),
  encoded("PNG", Image.fromarray(COLOUR).quantize(16), transparency=3),
  encoded("JPEG", exif=exif),
  encoded("JPEG", progressive=True),
  encoded("WEBP"),
  encoded("WEBP", lossless=True, exif=exif),
  encoded("BMP"),
  encoded("GIF"),
  encoded("TIFF", compression="tiff_lzw"),
  encoded("TIFF", compression="tiff_adobe_deflate", exif=exif),
  encoded("TIFF"),
]


@fuzzed(250)
@given(st.sampled_from(FILES).flatmap(damaged))
def test_an_image_is_read_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.img"
  path.write_bytes(content)
  image = read_or_refuse(lambda: read_image(path, SHAPE), path, ImageError)
  assert image is None or (image.shape, image.dtype) == (SHAPE, np.uint8)


@fuzzed(100)
@given(damaged(encoded("PNG")))
def test_a_png_keeps_its_pixels_or_is_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.png"
  path.write_bytes(content)
  image = read_or_refuse(lambda: read_image(path, SHAPE), path, ImageError)
  if image is not None:
    np.testing.assert_array_equal(image, COLOUR)


@fuzzed(100)
@given(st.sampled_from([encoded("PNG"), encoded("JPEG")]).flatmap(damaged))
def test_an_archives_image_is_decoded_or_refused(content):
  image = read_or_refuse(lambda: decode(content, "a.tar.gz: 1.png", side=12), "a.tar.gz: 1.png")
  assert image is None or image.size == (12, 12)


def tiff_of_tiles(side):
  """One pixel, as the corner of a square tile."""
  data = zlib.compress(b"\0" * 1000)
  tags = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
  start = 8 + 2 + 12 * (len(tags) + 2) + 4
  tags |= {324: start, 325: len(data)}
  directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
  return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + b"\0\0\0\0" + data


def test_a_tile_larger_than_its_image_is_an_image_too(tmp_path):
  path = tmp_path / "tiles.tif"
  path.write_bytes(tiff_of_tiles(16))
  assert read_image(path, (4, 4, 1)).shape == (4, 4, 1)


def test_a_tile_that_would_fill_the_memory_is_refused_undecoded(tmp_path, monkeypatch):
  path = tmp_path / "tiles.tif"
  path.write_bytes(tiff_of_tiles(20_000))
  monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
  with pytest.raises(ImageError, match=f"^{path} has more than 100 megapixels$"):
    read_image(path, (4, 4, 1))


@pytest.mark.parametrize("repeated", [20, 200])
def test_a_jpeg_of_many_scans_is_refused(tmp_path, repeated):
  whole = encoded("JPEG", progressive=True)
  start = whole.rindex(b"\xff\xda")
  path = tmp_path / "scans.jpg"
  path.write_bytes(whole[:-2] + whole[start:-2] * repeated + whole[-2:])
  if repeated == 20:
    assert read_image(path, SHAPE).shape == SHAPE
  else:
    with pytest.raises(ImageError, match=f"^{path} is a JPEG of 2.. scans, more than 100$"):
      read_image(path, SHAPE)


def test_a_file_larger_than_an_image_may_be_is_refused(tmp_path):
  path = tmp_path / "large.png"
  with path.open("wb") as file:
    file.truncate(images._MAX_BYTES + 1)
  with pytest.raises(ImageError, match=f"^{path} has more than 1,024 MiB$"):
    read_image(path, SHAPE)


def test_frames_of_an_animation_are_not_counted(tmp_path, monkeypatch):
  frames = [Image.new("L", (4, 4), value) for value in range(3)]
  path = tmp_path / "moving.gif"
  path.write_bytes(encoded("GIF", frames[0], save_all=True, append_images=frames[1:]))
  from PIL import GifImagePlugin

  counted = property(lambda self: pytest.fail("counted"))
  monkeypatch.setattr(GifImagePlugin.GifImageFile, "n_frames", counted)
  with pytest.raises(ImageError, match="is animated"):
    read_image(path, SHAPE)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
  path = tmp_path / "image.png"
  match kind:
    case "pipe":
      os.mkfifo(path)
    case "device":
      path.symlink_to("/dev/zero")
    case "loop":
      path.symlink_to(path)
    case "folder":
      path.mkdir()
  assert read_or_refuse(lambda: read_image(path, SHAPE), path, ImageError) is None


def test_a_folder_that_leads_round_is_searched_once(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "round").symlink_to(tmp_path)
  (tmp_path / "a" / "1.png").touch()
  assert find_images([tmp_path]) == [tmp_path / "a" / "1.png"]


def test_folders_in_folders_without_end_are_one_error(tmp_path, monkeypatch):
  top = tmp_path / "deep"
  monkeypatch.chdir(tmp_path)
  top.mkdir()
  os.chdir(top)
  for _ in range(1100):
    os.mkdir("d")
    os.chdir("d")
  try:
    # Newer versions of Python search it, and find nothing.
    with pytest.raises((ValueError, FileNotFoundError), match=f"{top}"):
      find_images([top])
  finally:
    for _ in range(1100):
      os.chdir("..")
      os.rmdir("d")
