"""Figures that compare the detectors of one network.

Scores are by ``"DETECTOR|SET"``, shape ``[images]``, the known test images under ``"test"``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from isomax_jax.detectors import DETECTORS
from isomax_jax.evaluation.measure import TEST
from isomax_jax.metrics import auroc
from isomax_jax.reporting import _panels, style
from isomax_jax.reporting._groups import unique
from isomax_jax.reporting.numbers import mean_text

# Of Okabe and Ito's colours.
_BEST = ("#0072b2", "#d55e00", "#cc79a7", "#e69f00")
_OTHERS = "#afb8c1"


def roc_curves(scores: Mapping[str, np.ndarray]) -> Figure:
  """Draw ROC curves, known images being the positives: one panel an out-set, one line a detector.

  The four detectors of the highest mean AUROC have colours and their numbers in the panels; the
  entropic score is dashed black where it is not among them, the others are grey.
  """
  detectors, out_sets = _ranked(scores)
  looks = {name: {"color": _OTHERS, "linewidth": 0.7, "zorder": 1} for name in detectors}
  looks["entropic_score"] = {"color": style.INK, "linewidth": 1.2, "linestyle": style.DASHED}
  for name, colour in zip(detectors, _BEST, strict=False):
    looks[name] = {"color": colour, "linewidth": 1.5, "zorder": 3}
  shown = [name for name in detectors if looks[name]["color"] != _OTHERS]
  figure, panels = _panels.roc_panels(out_sets, margin=0.7, height=2.6)
  for out_set, axes in panels.items():
    pairs = {name: (scores[f"{name}|{TEST}"], scores[f"{name}|{out_set}"]) for name in detectors}
    for name in reversed(detectors):
      axes.plot(*_panels.roc(*pairs[name]), **looks[name])
    text = _panels.corner_text(axes, fontsize=8)
    width = 0.95 * style.panel_width(axes)
    words = [
      style.plain(f"{DETECTORS.label(name)} {_auroc(*pairs[name])}", width=width, fontsize=8)
      for name in reversed(shown)
    ]
    heights = _panels.row_heights(words)
    for name, line, height in zip(reversed(shown), words, heights, strict=False):
      axes.text(0.99, height, line, color=looks[name]["color"], **text)
    axes.axhline(0.95, color=style.RULE, linewidth=0.8, zorder=0)
  others = len(detectors) - len(shown)
  handles = [Line2D([], [], label=DETECTORS.label(name), **looks[name]) for name in shown]
  if others:
    handles.append(Line2D([], [], color=_OTHERS, linewidth=0.7, label=f"{others} others"))
  style.legend(figure, handles)
  return figure


def score_histograms(scores: Mapping[str, np.ndarray]) -> Figure:
  """Draw the scores of known and of unknown images: one row a detector, one column an out-set.

  A row shares its axis of scores, the outermost .2 % of which are counted in the first and last
  bins; the numbers are AUROC in percent. The best mean AUROC is on top.
  """
  detectors, out_sets = _ranked(scores)
  figure = style.make_figure(
    width=max(4.0, 1.3 + 1.5 * len(out_sets)), height=0.9 + 0.55 * len(detectors)
  )
  grid = figure.subplots(len(detectors), len(out_sets), squeeze=False)
  for detector, row in zip(detectors, grid, strict=True):
    known, *unknowns = (scores[f"{detector}|{name}"] for name in (TEST, *out_sets))
    edges = _panels.bin_edges(np.concatenate([known, *unknowns]))
    for unknown, axes in zip(unknowns, row, strict=True):
      _draw_small_histogram(axes, known, unknown, edges)
    label = style.plain(DETECTORS.label(detector), width=1.6)
    row[0].set_ylabel(label, rotation=0, ha="right", va="center", **style.LABEL)
  for out_set, axes in zip(out_sets, grid[0], strict=True):
    title = style.plain(out_set, width=1.35, fontsize=8.5)
    axes.set_title(title, loc="left", color=style.UNKNOWN, fontsize=8.5, pad=4)
  style.legend(figure, _panels.histogram_keys())
  style.make_room(figure, grid[:1])
  return figure


def _draw_small_histogram(
  axes: Axes, known: np.ndarray, unknown: np.ndarray, edges: np.ndarray
) -> None:
  if _panels.spans_decades(edges[0], edges[-1]):
    axes.set_xscale("symlog", linthresh=-edges[-1])
  for scores, colour in ((known, style.KNOWN), (unknown, style.UNKNOWN)):
    _panels.fill_shares(axes, scores, edges, color=colour, alpha=0.45)
  axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the number
  axes.set_xlim(edges[0], edges[-1])
  axes.set_xticks([])
  axes.set_xticks([], minor=True)
  axes.set_yticks([])
  axes.spines[["top", "right", "left"]].set_visible(False)
  axes.spines["bottom"].set_color(style.RULE)
  axes.text(0.01, 0.95, _auroc(known, unknown), transform=axes.transAxes, va="top", **style.LABEL)


def _auroc(known: np.ndarray, unknown: np.ndarray) -> str:
  return mean_text(float(auroc(known, unknown)), factor=100)


def _ranked(scores: Mapping[str, np.ndarray]) -> tuple[Sequence[str], Sequence[str]]:
  """Return the detectors, the highest mean AUROC first, and the unknown sets."""
  keys = [key.partition("|")[::2] for key in scores]
  out_sets = unique(name for _, name in keys if name != TEST)
  if not out_sets:
    raise ValueError(f"scores must be of an unknown set too, got {', '.join(scores) or 'none'}")

  def mean(detector: str) -> float:
    known = scores[f"{detector}|{TEST}"]
    return float(np.mean([auroc(known, scores[f"{detector}|{name}"]) for name in out_sets]))

  return sorted(unique(detector for detector, _ in keys), key=mean, reverse=True), out_sets
