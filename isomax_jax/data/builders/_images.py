"""Decode images that archives hold."""

import io
from typing import Any

from PIL import Image


def decode(content: bytes, place: str, *, side: int) -> Any:
  """Decode a square PNG or JPEG image of a known size.

  Args:
    content: The encoded image.
    place: What the message calls it.
    side: Height and width that it must have.

  Returns:
    A Pillow image of the mode that it is stored in.

  Raises:
    ValueError: If it cannot be decoded or has another size.

  Example:
    >>> buffer = io.BytesIO()
    >>> Image.new("RGB", (32, 32)).save(buffer, "PNG")
    >>> decode(buffer.getvalue(), "test_0.png", side=32).size
    (32, 32)
  """
  try:
    image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
    size = image.size
    if size == (side, side):
      image.load()
  except Exception as error:  # Decoders raise almost anything on damaged bytes.
    reason = str(error).partition("\n")[0] or type(error).__name__
    raise ValueError(f"{place} cannot be decoded ({reason}): get the archive anew") from error
  if size != (side, side):
    raise ValueError(f"{place} must be {side} x {side} pixels, got {size[0]} x {size[1]}")
  return image
