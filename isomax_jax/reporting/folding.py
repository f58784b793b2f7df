"""Folding of long names, so that no part of them is lost."""

import re
from collections.abc import Callable

# A name may be broken after a blank and after what separates its parts; numbers stay whole.
_PIECE = re.compile(r".+?(?:(?:[\s/\\:_+|-]|,(?!\d{3}(?!\d))|\.(?!\d))+|$)", re.DOTALL)


def pieces(text: str) -> list[str]:
  """Split text after the places where it may be broken; the pieces together are the text.

  Example:
    >>> pieces("tiny_imagenet/nearest, 8 of 1,000")
    ['tiny_', 'imagenet/', 'nearest, ', '8 ', 'of ', '1,000']
  """
  return _PIECE.findall(text)


def fold(text: str, fits: Callable[[str], bool]) -> str:
  """Break text into lines that fit: between words, else where parts of a word end, else anywhere.

  Args:
    text: The text.
    fits: Function of a line to whether it fits. A single letter always does.

  Example:
    >>> fold("prepare tiny_imagenet/nearest", lambda line: len(line) <= 14).splitlines()
    ['prepare tiny_', 'imagenet/', 'nearest']
  """
  if fits(text):
    return text
  lines = [""]
  words = re.findall(r"\s*\S+\s*", text)
  for part in (p for word in words for p in ([word] if fits(word.strip()) else pieces(word))):
    if not fits((lines[-1] + part).rstrip()):
      lines.append("")
    for letter in part:
      if lines[-1] and not fits((lines[-1] + letter).rstrip()):
        lines.append("")
      lines[-1] += letter
  return "\n".join(line.rstrip() for line in lines if line.strip())
