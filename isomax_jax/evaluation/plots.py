"""Figures of runs: score histograms, ROC curves, training curves.

They are made with Matplotlib's objects, without pyplot and its global state, and suit a page of
800 pixels. Known images are blue and unknown ones vermilion, SoftMax is grey and IsoMax green.
"""

import collections
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isomax_jax.evaluation import _style
from isomax_jax.evaluation._files import write_atomically
from isomax_jax.evaluation.records import DISPLAY_NAMES, method_name
from isomax_jax.evaluation.runs import TEST, Run
from isomax_jax.metrics import auroc, tnr_at_tpr

_BINS = 48
_AXIS_LABELS = {
  "maximum_probability": "log-odds of the maximum probability",
  "entropic_score": "entropic score, nats",
}


def score_histograms(runs: Sequence[Run], *, detector: str | None = None) -> Figure:
  """Draw the scores of known and of unknown images: one row an out-set, one column a run.

  A column shares its axis of scores; the outermost .2 % are counted in the first and last bins.
  Entropic scores that span decades get a logarithmic axis. Where the detector is the one that the
  run decides by, a line marks its threshold, which was chosen on held-out training images.

  Args:
    runs: Runs to set side by side, such as SoftMax and IsoMax of one split.
    detector: Name of the detector; None takes each run's own.

  Returns:
    The figure.

  Raises:
    ValueError: If no run has scores of an unknown set, or one has none of the detector.

  Example:
    >>> run = Run(
    ...     path=Path("run"),
    ...     config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     scores={"energy|test": np.arange(9.0), "energy|letters": np.arange(-9.0, 0.0)})
    >>> figure = score_histograms([run], detector="energy")
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['letters']
  """
  names = _unknown_names(runs)
  line = {"color": _style.INK, "linewidth": 1, "linestyle": _style.DASHED}
  figure = _style.make_figure(
    width=_style.WIDTH if len(runs) > 1 else 5.0, height=0.95 + 1.45 * len(names)
  )
  grid = figure.subplots(len(names), len(runs), sharex="col", squeeze=False)
  for run, panels in zip(runs, grid.T, strict=True):
    own = detector or run.detector
    known = run.scores_of(own, TEST)
    unknown = {run.unknown(name): run.scores_of(own, name) for name in run.out_sets}
    edges = _edges(np.concatenate([known, *unknown.values()]))
    for axes, name in zip(panels, names, strict=True):
      _style.style(axes, name, color=_style.UNKNOWN)
      axes.spines["left"].set_visible(False)
      axes.set_yticks([])
      if name in unknown:
        _draw_histograms(axes, known, unknown[name], edges)
        if run.decision is not None and run.decision["detector"] == own:
          axes.axvline(run.decision["threshold"], ymax=0.8, **line)
      else:
        axes.text(0.5, 0.5, "not scored", transform=axes.transAxes, ha="center", **_style.LABEL)
    panels[0].annotate(
      method_name(run.head, own), (0.5, 1),
      xytext=(0, 22), xycoords="axes fraction", textcoords="offset points", ha="center",
      fontsize=10.5, fontweight="bold", color=_style.head_colour(run.head),
    )  # fmt: skip
    label = _AXIS_LABELS.get(own, own.replace("_", " "))
    panels[-1].set_xlabel(f"{label} (higher: more known)", **_style.LABEL)
  for axes in grid[:, 0]:
    axes.set_ylabel("share of images", **_style.LABEL)
  _style.legend(
    figure,
    [
      Patch(color=_style.KNOWN, alpha=0.75, label="known (test images)"),
      Patch(color=_style.UNKNOWN, alpha=0.75, label="unknown"),
      Line2D([], [], label="threshold", **line),
    ],
  )
  return figure


def roc_curves(runs: Sequence[Run], *, detector: str | None = None) -> Figure:
  """Draw ROC curves, known images being the positives: one panel an out-set, one colour a head.

  Several runs of one head, such as splits or seeds, are drawn thin and their mean (at equal rates
  of accepted unknown images) bold; the numbers in the panel are means over the runs.

  Args:
    runs: The runs.
    detector: Name of the detector; None takes each run's own.

  Returns:
    The figure.

  Raises:
    ValueError: If no run has scores of an unknown set, or one has none of the detector.

  Example:
    >>> run = Run(
    ...     path=Path("run"),
    ...     config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     scores={"energy|test": np.arange(9.0), "energy|letters": np.arange(-9.0, 0.0)})
    >>> figure = roc_curves([run], detector="energy")
    >>> figure.axes[0].lines[0].get_xydata()[[0, -1]].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
  """
  names = _unknown_names(runs)
  pairs = {name: collections.defaultdict(list) for name in names}
  for run in runs:
    own = detector or run.detector
    for out_set in run.out_sets:
      scores = run.scores_of(own, TEST), run.scores_of(own, out_set)
      pairs[run.unknown(out_set)][run.head, own].append(scores)
  columns = min(3, len(names))
  rows = -(-len(names) // columns)
  figure = _style.make_figure(
    width=_style.WIDTH * columns / 3 + 0.3 * (3 - columns), height=0.4 + 2.75 * rows
  )
  grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  for axes in grid.flat[len(names) :]:
    axes.set_visible(False)
  for axes, name in zip(grid.flat, names, strict=False):
    _style.style(axes, name, color=_style.UNKNOWN)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.015))
    axes.set_xticks([0, 0.5, 1], labels=["0", "50", "100"])
    axes.set_yticks([0, 0.5, 0.95], labels=["0", "50", "95"])
    _draw_rocs(axes, pairs[name])
    axes.axhline(0.95, color=_style.RULE, linewidth=0.8, zorder=0)
  for axes in grid[-1]:
    axes.set_xlabel("unknown accepted, %", **_style.LABEL)
  for axes in grid[:, 0]:
    axes.set_ylabel("known accepted, %", **_style.LABEL)
  return figure


def training_curves(runs: Sequence[Run]) -> Figure:
  """Draw loss, accuracy and mean entropy by epoch; training solid, validation dashed.

  Args:
    runs: The runs, one colour a head.

  Returns:
    The figure, one panel a quantity.

  Raises:
    ValueError: If no run has a training log.

  Example:
    >>> run = Run(
    ...     path=Path("run"),
    ...     config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     metrics=[{"epoch": e, "split": "train", "loss": 2.0 / e} for e in (1.0, 2.0)])
    >>> figure = training_curves([run])
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['loss', 'accuracy, %', 'mean entropy, nats']
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [2.0, 1.0]
  """
  if not any(run.metrics for run in runs):
    raise ValueError(f"runs must hold a training log, got {[str(run.path) for run in runs]}")
  figure = _style.make_figure(width=_style.WIDTH, height=2.9)
  panels = figure.subplots(1, 3)
  titles = {"loss": "loss", "accuracy": "accuracy, %", "entropy": "mean entropy, nats"}
  for axes, (key, title) in zip(panels, titles.items(), strict=True):
    _style.style(axes, title, color=_style.INK)
    axes.set_xlabel("epoch", **_style.LABEL)
    for run in runs:
      _draw_log(axes, run, key, thin=len(runs) > 2)
  losses, accuracies = (
    [value for line in axes.lines for value in line.get_ydata()] for axes in panels[:2]
  )
  # Losses fall by orders of magnitude; a logarithm of zero would hide the curve.
  if losses and np.nanmin(losses) > 0:
    panels[0].set_yscale("log")
  # The first epochs would take the axis from the rest.
  if accuracies:
    panels[1].set_ylim(bottom=10 * np.floor(np.nanquantile(accuracies, 0.05) / 10))
  classes = {len(run.decision["class_names"]) for run in runs if run.decision is not None}
  if len(classes) == 1:
    _mark_maximum_entropy(panels[2], classes.pop())
  heads = dict.fromkeys(run.head for run in runs)
  _style.legend(
    figure,
    [
      *(
        Patch(color=_style.head_colour(head), label=DISPLAY_NAMES.get(head, head)) for head in heads
      ),
      Line2D([], [], color=_style.INK, linewidth=1.2, label="training"),
      Line2D([], [], color=_style.INK, linewidth=1.2, linestyle=_style.DASHED, label="validation"),
    ],
  )
  return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
  """Write a figure as PNG (1,600 pixels wide) or SVG, whole or not at all.

  Args:
    figure: The figure.
    path: The file, ``*.png`` or ``*.svg``; its directory is made where it is missing.

  Raises:
    ValueError: If the suffix is another one.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   save_figure(Figure(), Path(directory, "figure.png"))
    ...   Path(directory, "figure.png").read_bytes()[1:4]
    b'PNG'
  """
  path = Path(path)
  if path.suffix.lower() not in (".png", ".svg"):
    raise ValueError(f"path must end in .png or .svg, got {str(path)!r}")
  write_atomically(path, _style.render(figure, suffix=path.suffix.lower()))


def _unknown_names(runs: Sequence[Run]) -> list[str]:
  """Return the names of all unknown sets, those that are alike in every split once."""
  names = list(dict.fromkeys(run.unknown(name) for run in runs for name in run.out_sets))
  if not names:
    paths = [str(run.path) for run in runs]
    raise ValueError(f"runs must hold scores of an unknown set, got {paths}")
  return names


def _edges(scores: np.ndarray) -> np.ndarray:
  """Return edges of bins: equal on the axis, which is logarithmic for small negative scores."""
  finite = scores[np.isfinite(scores)]
  if np.any(finite < 0) and np.all(finite <= 0):
    finite = finite[finite < 0]  # An entropic score that has underflown says nothing of the range.
  low, high = np.quantile(finite, [0.001, 0.999]) if finite.size else (0.0, 0.0)
  if low == high:
    low, high = low - 0.5, high + 0.5
  if _spans_decades(low, high):
    return -np.geomspace(-low, -high, _BINS + 1)
  return np.linspace(low, high, _BINS + 1)


def _spans_decades(low: float, high: float) -> bool:
  """Tell the entropic scores of a sure classifier, from -2 to -1e-9 and most of them near zero."""
  return high < 0 and low / high > 1e3


def _draw_histograms(axes: Axes, known: np.ndarray, unknown: np.ndarray, edges: np.ndarray) -> None:
  """Draw the shares of known and of unknown images a bin, and say how well they part."""
  if _spans_decades(edges[0], edges[-1]):
    axes.set_xscale("symlog", linthresh=-edges[-1])
    exponents = np.arange(np.ceil(np.log10(-edges[-1])), np.log10(-edges[0]), dtype=int)
    ticks = exponents[:: -(-len(exponents) // 5)]
    axes.set_xticks(-(10.0**ticks), labels=[f"$-10^{{{tick}}}$" for tick in ticks])
    axes.set_xticks([], minor=True)
  highest = 0.0
  for scores, colour in ((known, _style.KNOWN), (unknown, _style.UNKNOWN)):
    counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
    shares = counts / len(scores)
    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
    axes.stairs(shares, edges, color=colour, linewidth=1.2)
    highest = max(highest, shares.max())
  axes.set_xlim(edges[0], edges[-1])
  # Room above the bars and the threshold for what the panel says.
  axes.set_ylim(0, 1.3 * highest)
  text = f"AUROC {_percent(auroc(known, unknown))}   "
  text += f"TNR@TPR95 {_percent(tnr_at_tpr(known, unknown))}"
  axes.text(0.01, 0.98, text, transform=axes.transAxes, va="top", **_style.LABEL)


def _draw_rocs(
  axes: Axes, groups: Mapping[tuple[str, str], Sequence[tuple[np.ndarray, np.ndarray]]]
) -> None:
  """Draw the curves of each head and detector, and their numbers where no good curve passes."""
  text = {"transform": axes.transAxes, "fontsize": 8.2, "va": "bottom", "ha": "right"}
  top = 0.03 + 0.085 * len(groups)
  axes.text(0.63, top, "AUROC", color=_style.INK, **text)
  axes.text(0.99, top, "TNR@TPR95", color=_style.INK, **text)
  for row, ((head, detector), pairs) in enumerate(groups.items()):
    colour = _style.head_colour(head)
    curves = [_roc(known, unknown) for known, unknown in pairs]
    if len(curves) > 1:
      for curve in curves:
        axes.plot(*curve, color=colour, linewidth=0.7, alpha=0.5)
      rates = np.linspace(0, 1, 501)
      mean = np.mean([np.interp(rates, *curve) for curve in curves], axis=0)
      curves = [(np.append(0.0, rates), np.append(0.0, mean))]
    axes.plot(*curves[0], color=colour, linewidth=2)
    height = 0.03 + 0.085 * (len(groups) - 1 - row)
    values = [np.mean([metric(*pair) for pair in pairs]) for metric in (auroc, tnr_at_tpr)]
    for x, words in zip(
      (0.43, 0.63, 0.99), (method_name(head, detector), *map(_percent, values)), strict=True
    ):
      axes.text(x, height, words, color=colour, fontweight="bold", **text)


def _roc(known: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Return the rates of unknown and of known images at or above each threshold, from 0 to 1."""
  thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
  rates = [
    np.append(0.0, 1 - np.searchsorted(np.sort(scores), thresholds) / len(scores))
    for scores in (unknown, known)
  ]
  return rates[0], rates[1]


def _draw_log(axes: Axes, run: Run, key: str, *, thin: bool) -> None:
  factor = 100 if key == "accuracy" else 1
  for split, dashes in (("train", "-"), ("validation", _style.DASHED)):
    lines = [line for line in run.metrics if line["split"] == split and key in line]
    axes.plot(
      [line["epoch"] for line in lines], [factor * line[key] for line in lines], linestyle=dashes,
      color=_style.head_colour(run.head), linewidth=0.8 if thin else 1.3,
    )  # fmt: skip


def _mark_maximum_entropy(axes: Axes, classes: int) -> None:
  axes.axhline(np.log(classes), color=_style.RULE, linewidth=0.8, zorder=0)
  axes.set_ylim(top=1.15 * np.log(classes))
  axes.annotate(
    f"log {classes}, the maximum", (1, np.log(classes)), xytext=(0, 2), ha="right", fontsize=8.5,
    xycoords=("axes fraction", "data"), textcoords="offset points", color=_style.INK,
  )  # fmt: skip


def _percent(rate: float) -> str:
  return f"{100 * rate:.1f}"
