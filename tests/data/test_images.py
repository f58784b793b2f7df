import logging
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isomax_jax.data import MAX_MEGAPIXELS, ImageError, find_images, read_image

GREY = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
ALPHA = np.random.default_rng(2).integers(0, 256, (28, 28), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8) * 4


@pytest.fixture
def save(tmp_path):
  def save_image(image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name

  return save_image


def luminance(colour):
  return colour.astype(np.float64) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "gif"])
def test_grey_of_the_right_size_keeps_its_pixels(suffix, save):
  image = read_image(save(Image.fromarray(GREY), f"image.{suffix}"), (28, 28, 1))
  assert (image.dtype, image.shape) == (np.uint8, (28, 28, 1))
  assert image.flags.writeable
  np.testing.assert_array_equal(image[..., 0], GREY)


@pytest.mark.parametrize(
  ("suffix", "options"), [("png", {}), ("bmp", {}), ("tif", {}), ("webp", {"lossless": True})]
)
def test_colour(suffix, options, save):
  path = save(Image.fromarray(COLOUR), f"image.{suffix}", **options)
  np.testing.assert_array_equal(read_image(path, (28, 28, 3)), COLOUR)
  np.testing.assert_allclose(read_image(path, (28, 28, 1))[..., 0], luminance(COLOUR), atol=0.51)


def test_grey_as_colour(save):
  expected = np.repeat(GREY[..., None], 3, axis=2)
  np.testing.assert_array_equal(read_image(save(Image.fromarray(GREY)), (28, 28, 3)), expected)


def test_jpeg(save):
  path = save(Image.fromarray(SMOOTH), "image.jpg", quality=100)
  np.testing.assert_allclose(read_image(path, (28, 28, 1))[..., 0], SMOOTH, atol=2)


def test_cmyk(save):
  flat = Image.new("RGB", (28, 28), (200, 100, 50))
  path = save(flat.convert("CMYK"), "image.jpg", quality=100)
  np.testing.assert_allclose(read_image(path, (28, 28, 3)), np.asarray(flat), atol=4)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_black(mode, save):
  image = Image.fromarray(GREY if mode == "LA" else COLOUR)
  image.putalpha(Image.fromarray(ALPHA))
  assert image.mode == mode
  opaque = (GREY if mode == "LA" else luminance(COLOUR)).astype(np.float64)
  result = read_image(save(image), (28, 28, 1))[..., 0]
  np.testing.assert_allclose(result, opaque * ALPHA / 255, atol=1.5)


@pytest.mark.parametrize(("transparent", "expected"), [(None, 90), (1, 0)])
def test_palette(transparent, expected, save):
  image = Image.new("P", (28, 28), 1)
  image.putpalette([0, 0, 0, 90, 90, 90, 255, 255, 255])
  options = {} if transparent is None else {"transparency": transparent}
  assert (read_image(save(image, **options), (28, 28, 1)) == expected).all()


@pytest.mark.parametrize(("mode", "value"), [("L", 7), ("RGB", (7, 7, 7))])
def test_transparent_colour(mode, value, save):
  path = save(Image.new(mode, (28, 28), value), transparency=value)
  assert (read_image(path, (28, 28, 3)) == 0).all()


def test_one_bit(save):
  bits = GREY > 127
  image = read_image(save(Image.fromarray(bits)), (28, 28, 1))
  np.testing.assert_array_equal(image[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(suffix, save):
  values = np.linspace(0, 65535, 28 * 28).round().astype(np.uint16).reshape(28, 28)
  image = read_image(save(Image.fromarray(values), f"image.{suffix}"), (28, 28, 1))
  np.testing.assert_allclose(image[..., 0], values / 257, atol=0.51)


def test_exif_orientation_is_honoured(save):
  exif = Image.Exif()
  exif[0x0112] = 6  # The camera was turned: the first row is the right side.
  path = save(Image.fromarray(GREY), exif=exif)
  np.testing.assert_array_equal(read_image(path, (28, 28, 1))[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("size", [(90, 28), (28, 91)])
def test_the_middle_is_cut_out(size, save):
  width, height = size
  canvas = np.full((height, width), 255, dtype=np.uint8)
  top, left = (height - 28) // 2, (width - 28) // 2
  canvas[top : top + 28, left : left + 28] = 40
  assert (read_image(save(Image.fromarray(canvas)), (28, 28, 1)) == 40).all()


@pytest.mark.parametrize("upright", [False, True])
def test_aspect_ratio_of_the_shape(upright, save):
  canvas = np.zeros((60, 60), dtype=np.uint8)
  canvas[20:40] = np.arange(60) * 4
  shape = (30, 10, 1) if upright else (10, 30, 1)
  image = read_image(save(Image.fromarray(canvas.T if upright else canvas)), shape)
  assert image.shape == shape
  along = image[..., 0].T if upright else image[..., 0]
  assert (along == along[0]).all()
  np.testing.assert_allclose(along[0, 1:-1], (np.arange(30) * 8 + 2)[1:-1], atol=1)


def test_shrinking_averages(save):
  lines = np.zeros((280, 280), dtype=np.uint8)
  lines[::2] = 255
  image = read_image(save(Image.fromarray(lines)), (28, 28, 1))
  np.testing.assert_allclose(image[1:-1], 127.5, atol=2)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("shape", [(28, 28, 1), (10, 30, 1), (30, 10, 1)])
def test_tiny_images_are_enlarged(size, shape, save):
  image = read_image(save(Image.new("L", size, 99)), shape)
  assert image.shape == shape
  assert (image == 99).all()


def test_large_jpeg_is_decoded_small(save, monkeypatch):
  path = save(Image.fromarray(SMOOTH).resize((2240, 2240)), "large.jpg", quality=95)
  sizes = []
  resize = Image.Image.resize

  def watched(self, *arguments, **options):
    sizes.append(self.size)
    return resize(self, *arguments, **options)

  monkeypatch.setattr(Image.Image, "resize", watched)
  image = read_image(path, (28, 28, 1))
  assert sizes == [(280, 280)]
  np.testing.assert_allclose(image[..., 0], SMOOTH, atol=4)


def chunk(kind, data):
  return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data):
  header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
  return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_001, 14_000, 60_000])
@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_decompression_bomb_is_refused_undecoded(side, limit, tmp_path, monkeypatch):
  path = tmp_path / "bomb.png"
  path.write_bytes(png(side, side, b"\0" * 1000))
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
  monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
  with pytest.raises(ImageError, match=f"^{path} has more than {MAX_MEGAPIXELS} megapixels$"):
    read_image(path, (28, 28, 1))


def test_many_pixels_below_the_bound_pass_without_a_warning(save, monkeypatch):
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
  path = save(Image.fromarray(GREY))
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    image = read_image(path, (28, 28, 1))
  assert caught == []
  np.testing.assert_array_equal(image[..., 0], GREY)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_animation_is_refused(suffix, save):
  frames = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])]
  path = save(frames[0], f"moving.{suffix}", save_all=True, append_images=frames[1:])
  with pytest.raises(ImageError, match=f"^{path} is animated$"):
    read_image(path, (28, 28, 1))


def test_second_picture_of_a_camera_is_no_animation(save):
  flat = Image.new("RGB", (28, 28), (90, 90, 90))
  path = save(flat, "camera.jpg", format="MPO", save_all=True, append_images=[flat])
  np.testing.assert_allclose(read_image(path, (28, 28, 1)), 90, atol=1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif"])
def test_truncated_file_is_refused(suffix, save):
  path = save(Image.fromarray(COLOUR), f"half.{suffix}")
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.raises(ImageError, match=f"^{path} (cannot be read: .|is not a PNG)") as caught:
    read_image(path, (28, 28, 1))
  assert "\n" not in str(caught.value)


def test_flipped_bit_in_a_png_is_refused(save):
  path = save(Image.fromarray(GREY))
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(ImageError, match=f"^{path} cannot be read: .*checksum"):
    read_image(path, (28, 28, 1))


def test_complaints_of_the_tiff_decoder_stay_inside(save, capfd, monkeypatch):
  monkeypatch.setattr(logging.getLogger(), "handlers", [])
  path = save(Image.fromarray(COLOUR), "bad.tif")
  content = path.read_bytes()
  samples = struct.pack("<HHI", 277, 3, 1)
  assert samples in content
  path.write_bytes(content.replace(samples + b"\3\0", samples + b"\xff\x7f"))
  with pytest.raises(ImageError, match=r"is not a PNG, JPEG, WebP, BMP, GIF or TIFF image$"):
    read_image(path, (28, 28, 1))
  assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("array", "mode"), [(np.float32(GREY), "F"), (np.int32(GREY), "I")])
def test_pixels_of_unknown_range_are_refused(array, mode, save):
  path = save(Image.fromarray(array), "image.tif")
  message = rf"^{path} has pixels of 32 bits \(mode {mode}\), of unknown range$"
  with pytest.raises(ImageError, match=message):
    read_image(path, (28, 28, 1))


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "is empty"),
    (b"this is text", "is not a PNG, JPEG, WebP, BMP, GIF or TIFF image"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a PNG, JPEG, .*"),
  ],
)
def test_what_is_no_image_is_refused(content, reason, tmp_path):
  path = tmp_path / "image.png"
  path.write_bytes(content)
  with pytest.raises(ImageError, match=f"^{path} {reason}$"):
    read_image(path, (28, 28, 1))


def test_what_is_no_file_is_refused(tmp_path):
  os.mkfifo(tmp_path / "pipe.png")
  for path, reason in [
    (tmp_path, "is not a file"),
    (tmp_path / "pipe.png", "is not a file"),
    (tmp_path / "none.png", "does not exist"),
  ]:
    with pytest.raises(ImageError, match=f"^{path} {reason}$"):
      read_image(path, (28, 28, 1))


def test_unreadable_file_is_refused(save, monkeypatch):
  path = save(Image.fromarray(GREY))

  def refuse(self, *_):
    raise PermissionError(13, "Permission denied", str(self))

  monkeypatch.setattr(Path, "open", refuse)
  with pytest.raises(ImageError, match=f"^{path} cannot be opened: Permission denied$"):
    read_image(str(path), (28, 28, 1))


def test_error_is_a_value_error():
  assert issubclass(ImageError, ValueError)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 2), (0, 28, 1)])
def test_shape_is_checked(shape, save):
  with pytest.raises(ValueError, match=r"^shape must be \(height, width, 1 or 3\), got \("):
    read_image(save(Image.fromarray(GREY)), shape)


def test_missing_pillow_says_what_to_install(save, monkeypatch):
  path = save(Image.fromarray(GREY))
  monkeypatch.setitem(sys.modules, "PIL", None)
  with pytest.raises(ModuleNotFoundError, match=r"PIL is missing; .*'isomax_jax\[train\]'"):
    read_image(path, (28, 28, 1))


@pytest.fixture
def tree(tmp_path):
  for name in ("b.png", "a.JPEG", "c.txt", "deep/er/d.webp", "deep/e.tif", "empty/f.txt"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  (tmp_path / "folder.png").mkdir()
  return tmp_path


@pytest.mark.parametrize(
  ("patterns", "expected"),
  [
    ([""], ["a.JPEG", "b.png", "deep/e.tif", "deep/er/d.webp"]),
    (["deep"], ["deep/e.tif", "deep/er/d.webp"]),
    (["c.txt"], ["c.txt"]),
    (["b.png", "a.JPEG"], ["b.png", "a.JPEG"]),
    (["*.*"], ["a.JPEG", "b.png", "c.txt"]),
    (["d*"], ["deep/e.tif", "deep/er/d.webp"]),
    (["**/*.webp"], ["deep/er/d.webp"]),
    (["b.png", "deep/er", "deep", "b.png"], ["b.png", "deep/er/d.webp", "deep/e.tif"]),
  ],
)
def test_find(patterns, expected, tree):
  found = find_images([tree / pattern for pattern in patterns])
  assert [str(path.relative_to(tree)) for path in found] == expected


@pytest.mark.parametrize("pattern", ["none.png", "*.gif", "empty"])
def test_pattern_that_finds_nothing_is_named(pattern, tree):
  missing = str(tree / pattern)
  with pytest.raises(FileNotFoundError) as caught:
    find_images([tree, missing])
  assert str(caught.value) == f"no image found at {missing!r}"


def test_brackets_in_a_name_are_no_glob(tree):
  path = tree / "scan[1].png"
  path.touch()
  assert find_images([str(path)]) == [path]
