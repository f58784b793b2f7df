"""Progress reports of a preparation."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
  """How far a preparation is.

  Attributes:
    name: The set.
    stage: ``"download"``, ``"write"`` or ``"read back"``; ``"note"`` is a remark.
    done: Bytes (of a download) or images that are done.
    total: All of them; 0 where that is not known.
    text: The file or split that is being worked on; the remark.
  """

  name: str
  stage: str
  done: int = 0
  total: int = 0
  text: str = ""


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
  """Report nothing."""
