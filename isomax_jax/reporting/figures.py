"""Figures of runs: score histograms, ROC curves, reliability diagrams and training curves.

They suit a page of 800 pixels and use no pyplot, so no global state. Known images are blue and
unknown ones vermilion, SoftMax is grey and IsoMax green.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType

from isomax_jax._files import write_atomically
from isomax_jax.evaluation.measure import TEST
from isomax_jax.heads import HEADS
from isomax_jax.reporting import _panels, style
from isomax_jax.reporting._groups import grouped, unique
from isomax_jax.reporting.records import method_name, network_name
from isomax_jax.reporting.results import Results

_AXIS_LABELS = {
  "maximum_probability": "log-odds of the maximum probability",
  "entropic_score": "entropic score, nats",
}


def score_histograms(runs: Sequence[Results], *, detector: str | None = None) -> Figure:
  """Draw the scores of known and of unknown images: one row an out-set, one column a head.

  Several runs of one head, such as splits or seeds, are drawn as one; the numbers in the panel are
  means over the runs. A column shares its axis of scores; the outermost .2 % are counted in the
  first and last bins. Entropic scores that span decades get a logarithmic axis. A line marks the
  threshold of each run that decides by the detector.

  Args:
    runs: Runs to compare, such as SoftMax and IsoMax of one split; those without scores are left
      out.
    detector: Name of the detector; None takes each run's own.

  Returns:
    The figure.

  Raises:
    ValueError: If no run has scores of an unknown set, or one has none of the detector.

  Example:
    >>> run = Results(
    ...     path=Path("run"), config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     scores={"energy|test": np.arange(9.0), "energy|letters": np.arange(-9.0, 0.0)})
    >>> figure = score_histograms([run], detector="energy")
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['letters']
  """
  names = _unknown_names(runs)
  methods = _methods(runs, detector)
  line = {"color": style.INK, "linewidth": 1, "linestyle": style.DASHED}
  figure = style.make_figure(
    width=max(style.WIDTH, 2.3 * len(methods)) if len(methods) > 1 else 5.0,
    height=0.95 + 1.45 * len(names),
  )
  grid = figure.subplots(len(names), len(methods), sharex="col", squeeze=False)
  width = style.panel_width(grid[0, 0])
  for ((head, own, objective), members), panels in zip(methods.items(), grid.T, strict=True):
    pairs = {name: _pairs(members, own, name) for name in names}
    scores = [scores for each in pairs.values() for pair in each for scores in pair]
    edges = _panels.bin_edges(np.concatenate(scores))
    thresholds = [r.decision["threshold"] for r in members if r.decision and r.detector == own]
    for axes, name in zip(panels, names, strict=True):
      style.panel(axes, name, color=style.UNKNOWN)
      axes.spines["left"].set_visible(False)
      axes.set_yticks([])
      if pairs[name]:
        _panels.draw_histograms(axes, pairs[name], edges)
        for threshold in thresholds:
          axes.axvline(threshold, ymax=0.8, **line)
      else:
        axes.text(0.5, 0.5, "not scored", transform=axes.transAxes, ha="center", **style.LABEL)
    above = 22 + 13 * panels[0].get_title(loc="left").count("\n")
    name = style.plain(method_name(head, own, objective), width=width, fontsize=10.5, bold=True)
    panels[0].annotate(
      name, (0.5, 1), xytext=(0, above), xycoords="axes fraction", textcoords="offset points",
      ha="center", fontsize=10.5, fontweight="bold", color=style.head_colour(head),
    )  # fmt: skip
    label = f"{_AXIS_LABELS.get(own, own.replace('_', ' '))} (higher: more known)"
    panels[-1].set_xlabel(style.plain(label, width=width + 0.3), **style.LABEL)
  for axes in grid[:, 0]:
    axes.set_ylabel("share of images", **style.LABEL)
  style.legend(figure, [*_panels.histogram_keys(), Line2D([], [], label="threshold", **line)])
  style.make_room(figure, grid)
  return figure


def roc_curves(runs: Sequence[Results], *, detector: str | None = None) -> Figure:
  """Draw ROC curves, known images being the positives: one panel an out-set, one colour a head.

  Several runs of one head, such as splits or seeds, are drawn thin and their mean (at equal rates
  of accepted unknown images) bold; the numbers in the panel are means over the runs.

  Args:
    runs: The runs; those without scores are left out.
    detector: Name of the detector; None takes each run's own.

  Returns:
    The figure.

  Raises:
    ValueError: If no run has scores of an unknown set, or one has none of the detector.

  Example:
    >>> run = Results(
    ...     path=Path("run"), config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     scores={"energy|test": np.arange(9.0), "energy|letters": np.arange(-9.0, 0.0)})
    >>> figure = roc_curves([run], detector="energy")
    >>> figure.axes[0].lines[0].get_xydata()[[0, -1]].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
  """
  names = _unknown_names(runs)
  methods = _methods(runs, detector)
  figure, panels = _panels.roc_panels(names, margin=0.4, height=2.75)
  for name, axes in panels.items():
    pairs = {method: _pairs(members, method[1], name) for method, members in methods.items()}
    _panels.draw_rocs(axes, {method: each for method, each in pairs.items() if each})
    axes.axhline(0.95, color=style.RULE, linewidth=0.8, zorder=0)
  return figure


def reliability_diagram(runs: Sequence[Results]) -> Figure:
  """Draw accuracy against confidence, before and after the probabilities are calibrated.

  Below the diagonal a network is overconfident, above it underconfident. A dot is a bin of
  confidence, its area the share of test images in it; the steps below are their numbers, on a
  logarithmic axis. The images of several runs of one head and objective, such as splits or seeds,
  are pooled; the expected calibration errors in the panel are means over the runs.

  Args:
    runs: The runs, one colour a head; those without a calibration are left out.

  Returns:
    The figure.

  Raises:
    ValueError: If no run has a calibration.

  Example:
    >>> from isomax_jax.evaluation.calibration import measure_calibration
    >>> run = Results(
    ...     path=Path("run"), config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     calibration=measure_calibration([[1.0, 0.0]], [0], temperature=0.2))
    >>> figure = reliability_diagram([run])
    >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
    ['as they are: T = 1', 'calibrated: fitted T']
  """
  calibrated = [run for run in runs if run.calibration is not None]
  members = grouped(calibrated, lambda run: (run.head, run.objective))
  if not members:
    raise ValueError(f"runs must hold a calibration, got {[str(run.path) for run in runs]}")
  figure = style.make_figure(width=style.WIDTH, height=4.6)
  grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
  titles = {"before": "as they are: T = 1", "after": "calibrated: fitted T"}
  for (key, title), (top, bottom) in zip(titles.items(), grid.T, strict=True):
    style.panel(top, title, color=style.INK)
    style.panel(bottom, "", color=style.INK)
    found = {name: [getattr(run.calibration, key) for run in of] for name, of in members.items()}
    _panels.draw_reliabilities(top, bottom, found)
    bottom.set_xlabel("confidence, %", **style.LABEL)
  grid[0, 0].set_ylabel("accuracy, %", **style.LABEL)
  grid[1, 0].set_ylabel("test images", **style.LABEL)
  keys = [Patch(color=style.head_colour(head), label=network_name(head, o)) for head, o in members]
  diagonal = {"color": style.INK, "linewidth": 0.8, "linestyle": style.DASHED}
  style.legend(figure, [*keys, Line2D([], [], label="as sure as right", **diagonal)])
  return figure


def training_curves(runs: Sequence[Results]) -> Figure:
  """Draw loss, accuracy and mean entropy by epoch; training solid, validation dashed.

  Args:
    runs: The runs, one colour a head.

  Returns:
    The figure, one panel a quantity.

  Raises:
    ValueError: If no run has a training log.

  Example:
    >>> run = Results(
    ...     path=Path("run"), config={"data": {"name": "mnist_5k"}, "model": {"head": "isomax"}},
    ...     metrics=[{"epoch": e, "split": "train", "loss": 2.0 / e} for e in (1.0, 2.0)])
    >>> figure = training_curves([run])
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['loss', 'accuracy, %', 'mean entropy, nats']
  """
  if not any(run.metrics for run in runs):
    raise ValueError(f"runs must hold a training log, got {[str(run.path) for run in runs]}")
  figure = style.make_figure(width=style.WIDTH, height=2.9)
  panels = figure.subplots(1, 3)
  titles = {"loss": "loss", "accuracy": "accuracy, %", "entropy": "mean entropy, nats"}
  for axes, (key, title) in zip(panels, titles.items(), strict=True):
    style.panel(axes, title, color=style.INK)
    axes.set_xlabel("epoch", **style.LABEL)
    for run in runs:
      _panels.draw_log(axes, run, key, thin=len(runs) > 2)
  losses, accuracies = (
    [value for line in axes.lines for value in line.get_ydata()] for axes in panels[:2]
  )
  # Losses fall by orders of magnitude; a logarithm of zero would hide the curve.
  if losses and np.nanmin(losses) > 0:
    panels[0].set_yscale("log")
  # Without the lowest, which are of the first epochs.
  if accuracies:
    panels[1].set_ylim(10 * np.floor(np.nanquantile(accuracies, 0.05) / 10), 100.5)
  classes = {len(run.decision["class_names"]) for run in runs if run.decision is not None}
  if len(classes) == 1:
    _panels.mark_maximum_entropy(panels[2], classes.pop())
  heads = unique(run.head for run in runs)
  keys: list[Artist] = [
    Patch(color=style.head_colour(head), label=HEADS.label(head)) for head in heads
  ]
  lines: dict[str, LineStyleType] = {"training": "-", "validation": style.DASHED}
  for label, dashes in lines.items():
    keys.append(Line2D([], [], color=style.INK, linewidth=1.2, linestyle=dashes, label=label))
  style.legend(figure, keys)
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
  write_atomically(path, style.render(figure, suffix=path.suffix.lower()))


def _unknown_names(runs: Sequence[Results]) -> list[str]:
  """Return the names of all unknown sets, which splits share."""
  names = unique(run.unknown(name) for run in runs for name in run.out_sets)
  if not names:
    paths = [str(run.path) for run in runs]
    raise ValueError(f"runs must hold scores of an unknown set, got {paths}")
  return names


def _methods(
  runs: Sequence[Results], detector: str | None
) -> dict[tuple[str, str, str], list[Results]]:
  """Return the scored runs of each head, detector and objective; None is each run's own."""
  scored = [run for run in runs if run.out_sets]
  return grouped(scored, lambda run: (run.head, detector or run.detector, run.objective))


def _pairs(runs: Sequence[Results], detector: str, name: str) -> _panels.Pairs:
  """Return each run's scores of known images and of an unknown set's."""
  return [
    (run.scores_of(detector, TEST), run.scores_of(detector, out_set))
    for run in runs
    for out_set in run.out_sets
    if run.unknown(out_set) == name
  ]
