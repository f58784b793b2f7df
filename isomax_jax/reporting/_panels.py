"""Panels of figures: histograms of scores, ROC curves, reliability and training curves."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from isomax_jax.metrics import Reliability, auroc, tnr_at_tpr
from isomax_jax.metrics.detection import counts_below
from isomax_jax.reporting import style
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.records import method_name, network_name
from isomax_jax.reporting.results import Results

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]
"""Scores of known and of unknown images, of each run."""
_BINS = 48


def bin_edges(scores: np.ndarray) -> np.ndarray:
  """Return edges of bins: equal on the axis, which is logarithmic for small negative scores."""
  finite = scores[np.isfinite(scores)]
  if np.any(finite < 0) and np.all(finite <= 0):
    finite = finite[finite < 0]  # A zero is an entropic score that underflowed.
  low, high = np.quantile(finite, [0.001, 0.999]) if finite.size else (0.0, 0.0)
  if low == high:
    low, high = low - 0.5, high + 0.5
  if spans_decades(low, high):
    return -np.geomspace(-low, -high, _BINS + 1)
  return np.linspace(low, high, _BINS + 1)


def spans_decades(low: float, high: float) -> bool:
  """Tell whether scores range like a confident classifier's entropic ones, from -2 to -1e-9."""
  return high < 0 and low / high > 1e3


def fill_shares(
  axes: Axes, scores: np.ndarray, edges: np.ndarray, *, color: str, alpha: float
) -> np.ndarray:
  """Fill and return the share of scores in each bin; the outermost hold all that lie beyond."""
  counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
  shares = counts / len(scores)
  axes.stairs(shares, edges, fill=True, color=color, alpha=alpha, linewidth=0)
  return shares


def draw_histograms(axes: Axes, pairs: Pairs, edges: np.ndarray) -> None:
  """Draw the shares of known and of unknown images in each bin, with AUROC and TNR."""
  if spans_decades(edges[0], edges[-1]):
    axes.set_xscale("symlog", linthresh=-edges[-1])
    exponents = np.arange(np.ceil(np.log10(-edges[-1])), np.log10(-edges[0]), dtype=int)
    ticks = exponents[:: -(-len(exponents) // 5)]
    axes.set_xticks(-(10.0**ticks), labels=[f"$-10^{{{tick}}}$" for tick in ticks])
    axes.set_xticks([], minor=True)
  else:
    axes.locator_params(axis="x", nbins=6)
  highest = 0.0
  for each, colour in zip(zip(*pairs, strict=True), (style.KNOWN, style.UNKNOWN), strict=True):
    shares = fill_shares(axes, np.concatenate(each), edges, color=colour, alpha=0.35)
    axes.stairs(shares, edges, color=colour, linewidth=1.2)
    highest = max(highest, shares.max())
  axes.set_xlim(edges[0], edges[-1])
  # Room for the text above the bars and the threshold.
  axes.set_ylim(0, 1.3 * highest)
  text = f"AUROC {_mean(auroc, pairs)}   TNR@TPR95 {_mean(tnr_at_tpr, pairs)}"
  axes.text(0.01, 0.98, text, transform=axes.transAxes, va="top", **style.LABEL)


def histogram_keys() -> list[Patch]:
  """Return the legend of histograms."""
  return [
    Patch(color=style.KNOWN, alpha=0.75, label="known (test images)"),
    Patch(color=style.UNKNOWN, alpha=0.75, label="unknown"),
  ]


def draw_rocs(axes: Axes, groups: Mapping[tuple[str, str, str], Pairs]) -> None:
  """Draw the curves of each head, detector and objective, with their numbers below them."""
  text = corner_text(axes, fontsize=8.2)
  room = {"width": 0.43 * style.panel_width(axes), "fontsize": 8.2, "bold": True}
  names = [style.plain(method_name(*method), **room) for method in groups]
  *heights, top = row_heights(names[::-1])
  axes.text(0.63, top, "AUROC", color=style.INK, **text)
  axes.text(0.99, top, "TNR@TPR95", color=style.INK, **text)
  for (method, pairs), name, height in zip(groups.items(), names, heights[::-1], strict=True):
    colour = style.head_colour(method[0])
    curves = [roc(known, unknown) for known, unknown in pairs]
    if len(curves) > 1:
      for curve in curves:
        axes.plot(*curve, color=colour, linewidth=0.7, alpha=0.5)
      rates = np.linspace(0, 1, 501)
      mean = np.mean([np.interp(rates, *curve) for curve in curves], axis=0)
      curves = [(np.append(0.0, rates), np.append(0.0, mean))]
    axes.plot(*curves[0], color=colour, linewidth=2)
    means = [_mean(metric, pairs) for metric in (auroc, tnr_at_tpr)]
    for x, words in zip((0.43, 0.63, 0.99), (name, *means), strict=True):
      axes.text(x, height, words, color=colour, fontweight="bold", **text)


def roc_panels(
  names: Sequence[str], *, margin: float, height: float
) -> tuple[Figure, dict[str, Axes]]:
  """Make a figure of empty ROC panels by the names of unknown sets, at most three in a row.

  The margin, beside the panels, and the height of a row are in inches.
  """
  columns = min(3, len(names))
  rows = -(-len(names) // columns)
  width = style.WIDTH * columns / 3 + 0.3 * (3 - columns)
  figure = style.make_figure(width=width, height=margin + height * rows)
  grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  for axes in grid.flat[len(names) :]:
    axes.set_visible(False)
  panels = dict(zip(names, grid.flat, strict=False))
  for name, axes in panels.items():
    style.panel(axes, name, color=style.UNKNOWN)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.015))
    axes.set_xticks([0, 0.5, 1], labels=["0", "50", "100"])
    axes.set_yticks([0, 0.5, 0.95], labels=["0", "50", "95"])
  for axes in grid[-1]:
    axes.set_xlabel("unknown accepted, %", **style.LABEL)
  for axes in grid[:, 0]:
    axes.set_ylabel("known accepted, %", **style.LABEL)
  style.make_room(figure, grid)
  return figure, panels


def corner_text(axes: Axes, *, fontsize: float) -> dict[str, Any]:
  """Return the style of text in the lower right corner, in front of any poor curve."""
  box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5}
  return {
    "transform": axes.transAxes, "fontsize": fontsize, "va": "bottom", "ha": "right", "bbox": box
  }  # fmt: skip


def row_heights(texts: Sequence[str]) -> list[float]:
  """Return where texts in a panel's corner stand, from the lowest on, and where one above would."""
  steps = [0.085 + 0.065 * text.count("\n") for text in texts]
  return [0.03 + sum(steps[:i]) for i in range(len(steps) + 1)]


def roc(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return the rates of unknown and of known images at or above each threshold, from 0 to 1."""
  below = counts_below(known, unknown)
  known_rates, unknown_rates = (1 - counts[::-1] / counts[-1] for counts in below)
  return unknown_rates, known_rates


def draw_reliabilities(
  top: Axes, bottom: Axes, of_network: Mapping[tuple[str, str], Sequence[Reliability]]
) -> None:
  """Draw accuracy and, below it, the count of images by confidence for each head and objective."""
  top.plot([0, 1], [0, 1], color=style.INK, linewidth=0.8, linestyle=style.DASHED, zorder=0)
  text = corner_text(top, fontsize=8.5)
  width = 0.95 * style.panel_width(top)
  names = {}
  for (head, objective), members in reversed(list(of_network.items())):
    error = statistics.fmean(each.calibration_error for each in members)
    words = f"{network_name(head, objective)}: ECE {mean_text(error, factor=100)} %"
    names[head, objective] = style.plain(words, width=width, fontsize=8.5, bold=True)
  most = 0
  for (network, words), height in zip(names.items(), row_heights([*names.values()]), strict=False):
    colour = style.head_colour(network[0])
    edges, counts, confidence, accuracy = pooled(of_network[network])
    filled = counts > 0
    points, areas = (confidence[filled], accuracy[filled]), 250 * counts[filled] / counts.sum()
    top.plot(*points, color=colour, linewidth=1, alpha=0.6)
    # Not clipped at an accuracy of 1, and large enough to see a single image.
    top.scatter(*points, areas + 8, color=colour, alpha=0.7, linewidth=0, clip_on=False)
    bottom.stairs(counts, edges, color=colour, linewidth=1.2)
    most = max(most, counts.sum())
    top.text(0.99, height, words, color=colour, fontweight="bold", **text)
  top.set(xlim=(0, 1.01), ylim=(0, 1.01))
  for axis in (top.xaxis, top.yaxis):
    axis.set_ticks([0, 0.5, 1], labels=["0", "50", "100"])
  bottom.set_yscale("log")
  bottom.set_ylim(0.7, 2 * most)


def pooled(members: Sequence[Reliability]) -> Reliability:
  """Return the reliability of the images of several runs together, over the bins they share."""
  counts = np.array([each.counts for each in members])
  total = counts.sum(axis=0)
  confidence, accuracy = (
    np.sum(counts * np.nan_to_num(means), axis=0) / np.where(total, total, np.nan)
    for means in ([each.confidence for each in members], [each.accuracy for each in members])
  )
  return Reliability(members[0].edges, total, confidence, accuracy)


def draw_log(axes: Axes, run: Results, key: str, *, thin: bool) -> None:
  """Draw a quantity of a run's log: training solid, validation dashed, a single value a dot."""
  factor = 100 if key == "accuracy" else 1
  for split, dashes in (("train", "-"), ("validation", style.DASHED)):
    lines = [line for line in run.metrics if line["split"] == split and key in line]
    axes.plot(
      [line["epoch"] for line in lines], [factor * line[key] for line in lines], linestyle=dashes,
      color=style.head_colour(run.head), linewidth=0.8 if thin else 1.3,
      marker="o" if len(lines) == 1 else None, markersize=4,
    )  # fmt: skip


def mark_maximum_entropy(axes: Axes, classes: int) -> None:
  """Draw a line at the entropy of equal probabilities."""
  axes.axhline(np.log(classes), color=style.RULE, linewidth=0.8, zorder=0)
  axes.set_ylim(top=1.15 * np.log(classes))
  axes.annotate(
    f"log {classes}, the maximum", (1, np.log(classes)), xytext=(0, 2), ha="right", fontsize=8.5,
    xycoords=("axes fraction", "data"), textcoords="offset points", color=style.INK,
  )  # fmt: skip


def _mean(metric: Callable[[np.ndarray, np.ndarray], float], pairs: Pairs) -> str:
  """Return the mean of a metric over runs as text, in percent."""
  return mean_text(statistics.fmean(metric(*pair) for pair in pairs), factor=100)
