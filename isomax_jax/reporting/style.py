"""Style of all figures: colours, text, axes, and how they become files."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.textpath import text_to_path

from isomax_jax.heads import HEADS, HeadEntry
from isomax_jax.reporting.folding import fold

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


def plain(text: str, *, width: float = math.inf, fontsize: float = 9, bold: bool = False) -> str:
  """Return text without mathematics for Matplotlib, in lines of at most a width in inches."""
  folded = fold(text, lambda line: _text_width(line, fontsize, bold=bold) <= width)
  return folded.replace("$", r"\$")


def panel_width(axes: Axes) -> float:
  """Return about how many inches of their figure axes have, beside others and their labels."""
  place = axes.get_subplotspec()
  share = 1.0 if place is None else len(place.colspan) / place.get_gridspec().ncols
  return share * axes.figure.bbox.width / axes.figure.dpi - 0.45


def _text_width(text: str, fontsize: float, *, bold: bool = False) -> float:
  """Return the width of text in inches."""
  font = FontProperties(size=fontsize, weight="bold" if bold else "normal")
  lines = text.splitlines() or [""]
  return max(text_to_path.get_text_width_height_descent(x, font, False)[0] for x in lines) / 72


def make_figure(*, width: float, height: float) -> Figure:
  """Return an empty white figure, sizes in inches, that fits its panels to its text."""
  layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.05, wspace=0.03, hspace=0.04)
  return Figure(figsize=(width, height), layout=layout, facecolor="white")


def panel(axes: Axes, title: str, *, color: str) -> None:
  """Give axes their title, and remove lines that carry no information."""
  text = plain(title, width=panel_width(axes), fontsize=9.5)
  axes.set_title(text, loc="left", color=color, fontsize=9.5, pad=4)
  axes.spines[["top", "right"]].set_visible(False)
  axes.spines[["left", "bottom"]].set_color(RULE)
  axes.tick_params(which="both", labelsize=8.5, labelcolor=INK, color=RULE, length=3)


def make_room(figure: Figure, rows: Iterable[Iterable[Axes]]) -> None:
  """Make a figure higher by the lines after the first of the titles of each row of panels."""
  lines = [max(axes.get_title(loc="left").count("\n") for axes in row) for row in rows]
  figure.set_figheight(figure.get_figheight() + 0.17 * sum(lines))


def legend(figure: Figure, handles: Sequence[Artist], *, fontsize: float = 9) -> None:
  """Put a legend above the panels: in one line, or more where the names are long."""
  room = figure.get_figwidth() - 0.2
  beside = 3.9 * fontsize / 72  # The sample and the gaps below.
  for handle in handles:
    handle.set_label(plain(str(handle.get_label()), width=room - beside, fontsize=fontsize))
  widths = [beside + _text_width(str(handle.get_label()), fontsize) for handle in handles]
  columns = len(handles) if sum(widths) <= room else max(1, int(room / max(widths)))
  figure.legend(
    handles=handles, loc="outside upper left", ncols=columns, frameon=False,
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
