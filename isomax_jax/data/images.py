"""Reading and writing of image files of any origin."""

import glob
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

from isomax_jax._files import one_line
from isomax_jax.data._packages import package_folder

# What is taken for an image in a folder.
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

# Beyond it, a small file can fill the memory: a decompression bomb.
MAX_MEGAPIXELS = 100
_MAX_BYTES = 2**30
# Each scan of a JPEG passes over the whole image: a small file can take for ever.
_MAX_SCANS = 100
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323

# Otherwise Pillow tries every format it knows, some by running other programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")

# What Pillow logs of a damaged file is in the error too; unhandled, it would go to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class ImageError(ValueError):
  """An image that cannot be used; the message is one line that names the file and the reason."""


def find_images(patterns: Sequence[str | os.PathLike[str]]) -> list[Path]:
  """Find the image files that files, folders and globs stand for.

  Args:
    patterns: Files, taken as they are; folders, searched through all levels for names that end
      in one of :data:`SUFFIXES`; globs, with ``**`` for any number of folders.

  Returns:
    The files, those of a folder or glob sorted, none twice.

  Raises:
    FileNotFoundError: If nothing is found for a pattern.
    ValueError: If a folder is too deep.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   for name in ("b.png", "a.JPG", "notes.txt"):
    ...     Path(folder, name).touch()
    ...   [path.name for path in find_images([folder])]
    ['a.JPG', 'b.png']
  """
  found: dict[Path, None] = {}
  for pattern in patterns:
    matches = [str(pattern)] if Path(pattern).exists() else glob.glob(str(pattern), recursive=True)
    files = [file for match in sorted(matches) for file in _image_files(Path(match))]
    if not files:
      raise FileNotFoundError(f"no image found at {str(pattern)!r}")
    found.update(dict.fromkeys(files))
  return list(found)


def _image_files(path: Path) -> list[Path]:
  """Return the images below a folder; any other path is taken as it is."""
  if not path.is_dir():
    return [path]
  try:
    found = list(path.rglob("*"))
  except RecursionError:
    raise ValueError(f"{path} holds folders in folders, too deep to be searched") from None
  return sorted(file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())


def read_image(
  path: str | os.PathLike[str], shape: tuple[int, int, int]
) -> UInt8[np.ndarray, "height width channels"]:
  """Read an image file into the size and channels that a network takes.

  Any mode (grey, palette, CMYK, 1 or 16 bits) becomes grey (.299 R + .587 G + .114 B) or RGB of
  8 bits, turned as its EXIF orientation says; transparency is laid over black. The middle is cut
  out in the aspect ratio asked for and resized with antialiasing; an image that has the size
  already keeps its pixels.

  Args:
    path: A PNG, JPEG, WebP, BMP, GIF or TIFF file of up to :data:`MAX_MEGAPIXELS`.
    shape: Height, width and channels (1 or 3) of the result.

  Returns:
    The image, of that shape, uint8.

  Raises:
    ImageError: If the file is missing, no regular file, empty, unreadable, no image, damaged,
      animated, too large, or of a mode that has no defined range (float, 32 bits).
    ModuleNotFoundError: If Pillow is missing.
    ValueError: If the shape is not one of an image.

  Example:
    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   Image.new("RGB", (640, 480), "white").save(Path(folder, "white.png"))
    ...   read_image(Path(folder, "white.png"), (28, 28, 1)).shape
    (28, 28, 1)
  """
  if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
    raise ValueError(f"shape must be (height, width, 1 or 3), got {shape}")
  package_folder("PIL", extra="train")
  from PIL import Image, UnidentifiedImageError

  path = Path(path)
  if not path.is_file():
    # Pipes and devices too: opening one may wait for ever.
    reason = "is not a file" if path.exists() else "does not exist"
    raise ImageError(f"{path} {reason}")
  try:
    with warnings.catch_warnings(), path.open("rb") as file:
      warnings.simplefilter("ignore")
      size = os.fstat(file.fileno()).st_size
      if size == 0:
        raise ImageError("is empty")
      if size > _MAX_BYTES:
        raise ImageError(f"has more than {_MAX_BYTES >> 20:,} MiB")
      image = _open(file, shape)
      return _to_array(_to_eight_bits(image), shape)
  except ImageError as error:
    raise ImageError(f"{path} {error}") from None
  except UnidentifiedImageError as error:
    raise ImageError(f"{path} is not a PNG, JPEG, WebP, BMP, GIF or TIFF image") from error
  except Image.DecompressionBombError as error:
    raise ImageError(f"{path} has more than {MAX_MEGAPIXELS} megapixels") from error
  except PermissionError as error:
    raise ImageError(f"{path} cannot be opened: {error.strerror}") from error
  except Exception as error:  # Decoders raise almost anything on damaged bytes.
    raise ImageError(f"{path} cannot be read: {one_line(error)}") from error


def write_image(
  path: str | os.PathLike[str], image: UInt8[np.ndarray, "height width channels"]
) -> None:
  """Write an image as :func:`read_image` reads it, in the format of the file's suffix.

  Args:
    path: The file; PNG keeps every pixel.
    image: The image, shape ``[height, width, 1 or 3]``, uint8.

  Example:
    >>> import tempfile
    >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   write_image(Path(folder, "image.png"), image)
    ...   bool((read_image(Path(folder, "image.png"), (2, 2, 3)) == image).all())
    True
  """
  from PIL import Image

  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def _open(file: IO[bytes], shape: tuple[int, int, int]) -> Any:
  """Open an image, check its header, and decode it upright."""
  from PIL import Image, ImageOps

  image = Image.open(file, formats=_FORMATS)
  # A TIFF's tiles are decoded whole and may be larger than the image.
  tags = getattr(image, "tag_v2", {})
  tile_size = tags.get(_TIFF_TILE_WIDTH, 0), tags.get(_TIFF_TILE_LENGTH, 0)
  for width, height in (image.size, tile_size):
    if width * height > MAX_MEGAPIXELS * 10**6:
      raise ImageError(f"has more than {MAX_MEGAPIXELS} megapixels")
  # The second image that some cameras hide in a JPEG (MPO) is no animation.
  if getattr(image, "is_animated", False) and image.format != "MPO":
    raise ImageError("is animated")
  if image.format in ("JPEG", "MPO"):
    _check_scans(file)
  if image.format == "PNG":
    # Decoding does not look at the checksums, and verifying leaves nothing to decode.
    image.verify()
    image = Image.open(file, formats=_FORMATS)
  # A large JPEG is decoded at a fraction of its size that is still enough for antialiasing.
  side = 4 * max(shape[:2])
  image.draft(None, (side, side))
  return ImageOps.exif_transpose(image)


def _check_scans(file: IO[bytes]) -> None:
  position = file.tell()
  file.seek(0)
  scans = file.read().count(b"\xff\xda")
  file.seek(position)
  if scans > _MAX_SCANS:
    raise ImageError(f"is a JPEG of {scans:,} scans, more than {_MAX_SCANS}")


def _to_eight_bits(image: Any) -> Any:
  """Convert an image of any mode to RGB, transparency laid over black."""
  from PIL import Image

  if image.mode in ("I", "F"):
    raise ImageError(f"has pixels of 32 bits (mode {image.mode}), of unknown range")
  if image.mode.startswith("I;16"):
    values = np.asarray(image, dtype=np.float32)
    image = Image.fromarray(np.rint(values / 257).astype(np.uint8))
  elif image.has_transparency_data:
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    image = Image.alpha_composite(black, image.convert("RGBA"))
  return image.convert("RGB")


def _to_array(image: Any, shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
  """Cut out the middle of an RGB image, resize it, and make it grey for one channel."""
  from PIL import Image

  height, width, channels = shape
  crop_width = min(image.width, max(1, round(image.height * width / height)))
  crop_height = min(image.height, max(1, round(image.width * height / width)))
  left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
  middle = image.crop((left, top, left + crop_width, top + crop_height))
  middle = middle.convert("L") if channels == 1 else middle
  resized = middle.resize((width, height), Image.Resampling.BICUBIC)
  return np.array(resized, dtype=np.uint8).reshape(shape)
