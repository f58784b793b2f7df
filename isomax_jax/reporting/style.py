"""Style of all figures: colours, text, axes, and how they become files."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from isomax_jax.heads import HEADS, HeadEntry

# Okabe and Ito's colours, distinct under every common colour blindness.
INK, RULE = "#24292f", "#d0d7de"
KNOWN, UNKNOWN = "#0072b2", "#d55e00"
OTHER_HEAD = HeadEntry._field_defaults["colour"]

WIDTH = 8.0
LABEL = {"fontsize": 9, "color": INK}
DASHED = (0, (4, 2))


def head_colour(head: str) -> str:
  """Return the colour of a head, the same in every figure."""
  return HEADS[head].colour if head in HEADS else OTHER_HEAD


def plain(text: str) -> str:
  """Return text with its dollar signs escaped, so that Matplotlib takes none for mathematics."""
  return text.replace("$", r"\$")


def make_figure(*, width: float, height: float) -> Figure:
  """Return an empty white figure, sizes in inches, that fits its panels to its text."""
  layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05, wspace=0.03, hspace=0.04)
  return Figure(figsize=(width, height), layout=layout, facecolor="white")


def panel(axes: Axes, title: str, *, color: str) -> None:
  """Give axes their title, and remove lines that carry no information."""
  axes.set_title(plain(title), loc="left", color=color, fontsize=9.5, pad=4)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["left", "bottom"]].set_color(RULE)
  axes.tick_params(which="both", labelsize=8.5, labelcolor=INK, color=RULE, length=3)


def legend(figure: Figure, handles: Sequence[Artist], *, fontsize: float = 9) -> None:
  """Put a legend of one line above the panels."""
  figure.legend(
    handles=handles, loc="outside upper left", ncols=len(handles), frameon=False,
    fontsize=fontsize, labelcolor=INK, handlelength=1.6, columnspacing=1.6, handletextpad=0.6,
    borderpad=0.2,
  )  # fmt: skip


def render(figure: Figure, *, suffix: str) -> bytes:
  """Return a figure as the bytes of a ``.png`` or ``.svg`` file."""
  buffer = io.BytesIO()
  metadata = {"Date": None} if suffix == ".svg" else {"Software": None}
  figure.savefig(buffer, format=suffix[1:], dpi=200, metadata=metadata)
  return buffer.getvalue()


def png(image: np.ndarray) -> bytes:
  """Return a PNG file of an image, shape ``[height, width, 1 or 3]``, uint8."""
  buffer = io.BytesIO()
  colours = np.broadcast_to(image, (*image.shape[:2], 3))
  # Matplotlib's stub does not know that None leaves an entry out.
  metadata: Any = {"Software": None}
  matplotlib.image.imsave(buffer, colours, format="png", metadata=metadata)
  return buffer.getvalue()
