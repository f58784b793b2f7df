"""What a long preparation tells of itself."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
  """How far a preparation is.

  Attributes:
    name: The set.
    stage: What is being done: ``"download"``, ``"write"`` or ``"read back"``; ``"note"`` is a
      remark on what was found.
    done: What has been done of it, in bytes (download) or images.
    total: All of it; 0 where that is not known.
    text: The file or split that is being worked on; the remark.
  """

  name: str
  stage: str
  done: int = 0
  total: int = 0
  text: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
  """Report nothing.

  Example:
    >>> silent(Progress("cifar10", "write", 5, 10))
  """
