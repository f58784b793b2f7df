"""Decoding of the images in archives."""

import io

from PIL import Image

from isomax_jax._files import one_line


def decode(content: bytes, place: str, *, side: int) -> Image.Image:
  """Return a PNG or JPEG image of ``side`` x ``side`` pixels in the mode that it is stored in.

  Raises:
    ValueError: If it cannot be decoded or has another size; the message begins with ``place``.
  """
  try:
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    size = image.size
    if size == (side, side):
      image.load()
  except Exception as error:  # Decoders raise almost anything on damaged bytes.
    raise ValueError(
      f"{place} cannot be decoded ({one_line(error)}): get the archive anew"
    ) from error
  if size != (side, side):
    raise ValueError(f"{place} must be {side} x {side} pixels, got {size[0]} x {size[1]}")
  return image
