"""Figures of experiments, drawn from their records."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.cells import name_of
from experiments.figure1 import PANELS
from experiments.score_histograms import ScoreHistogram
from experiments.soak import Sample
from isomax_jax.heads import HEADS
from isomax_jax.reporting import Record, style
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.records import method_name

_LOSS, _ENTROPY = style.KNOWN, style.UNKNOWN
# For a figure that is to be read on a telephone too.
_FRONT = {"fontsize": 14, "color": style.INK}
_DASHES = {"maximum_probability": style.DASHED, "entropic_score": "-"}


def entropic_scales(records: Sequence[Record], *, out_set: str = "cifar100") -> Figure:
  """Draw loss and mean entropy by epoch for each entropic scale, and what the scale detects.

  Loss and entropy are means over the training images of an epoch, the entropy that of the
  probabilities at inference. Several seeds are averaged; their TNR@TPR95 are dots.

  Args:
    records: Records of `figure1` or another experiment that keeps its log.
    out_set: The unknown set that is to be detected.

  Returns:
    The figure: a panel a head and scale, and one of TNR@TPR95.
  """
  figure = style.make_figure(width=style.WIDTH, height=5.2)
  grid = figure.add_gridspec(2, len(PANELS))
  panels = [figure.add_subplot(grid[0, column]) for column in range(len(PANELS))]
  epochs = max(r.epochs for r in records)
  for axes, (head, scale) in zip(panels, PANELS, strict=True):
    style.panel(axes, _trained_name(head, scale), color=style.head_colour(head))
    for name, colour in (("loss", _LOSS), ("entropy", _ENTROPY)):
      curve = _by_epoch(
        r
        for r in records
        if (r.head, r.entropic_scale, r.metric) == (head, scale, f"training_{name}")
      )
      axes.plot(list(curve), [np.mean(values) for values in curve.values()], color=colour)
    if not curve:
      axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", **style.LABEL)
    axes.set(xlim=(0, epochs), ylim=(0, 2.5))
    axes.set_xlabel("epoch", **style.LABEL)
  for axes in panels[1:]:
    axes.set_yticklabels([])
  panels[0].set_ylabel("nats", **style.LABEL)
  wide = figure.add_subplot(grid[1, :])
  style.panel(wide, f"{name_of(out_set)}: TNR@TPR95, %", color=style.INK)
  for detector, fill in (("maximum_probability", "none"), ("entropic_score", None)):
    for x, (head, scale) in enumerate(PANELS):
      values = [
        100 * r.value
        for r in records
        if (r.head, r.entropic_scale, r.detector, r.out_set, r.metric, r.checkpoint)
        == (head, scale, detector, out_set, "tnr_at_tpr", "last")
      ]
      colour = style.head_colour(head)
      shift = 0.12 if detector == "entropic_score" else -0.12
      wide.plot(
        np.full(len(values), x + shift), values, "o", color=colour, markersize=5,
        markerfacecolor=fill or colour,
      )  # fmt: skip
      if values:
        wide.hlines(np.mean(values), x + shift - 0.08, x + shift + 0.08, color=colour)
  wide.set_xticks(range(len(PANELS)), labels=[_trained_name(head, scale) for head, scale in PANELS])
  wide.set_xlim(-0.5, len(PANELS) - 0.5)
  style.legend(
    figure,
    [
      Line2D([], [], color=_LOSS, label="training loss"),
      Line2D([], [], color=_ENTROPY, label="mean entropy at inference"),
      Line2D(
        [], [], color=style.INK, linestyle="", marker="o", markerfacecolor="none", label="MPS"
      ),
      Line2D([], [], color=style.INK, linestyle="", marker="o", label="ES"),
    ],
  )
  return figure


def score_curves(records: Sequence[Record], *, metric: str = "auroc") -> Figure:
  """Draw a metric of each head and score by epoch: one panel an unknown set, and accuracy.

  Args:
    records: Records of several checkpoints.
    metric: Name of the metric.

  Returns:
    The figure; lines are means over seeds, each of which is drawn thin.
  """
  own = {("softmax", 1), ("isomax", 10)}
  records = [r for r in records if (r.head, r.entropic_scale) in own]
  measured = [r for r in records if r.metric in (metric, "accuracy") and r.checkpoint != "last"]
  sets = dict.fromkeys([None, *(r.out_set for r in measured)])  # None is for accuracy.
  at_the_end = [
    r
    for r in records
    if r.metric in (metric, "accuracy") and r.checkpoint == "last" and r.out_set in sets
  ]
  figure = style.make_figure(width=style.WIDTH, height=3.2)
  panels = figure.subplots(1, len(sets), squeeze=False)[0]
  for axes in panels[2:]:
    axes.sharey(panels[1])
  methods = dict.fromkeys((r.head, r.detector) for r in measured)
  for axes, out_set in zip(panels, sets, strict=True):
    title = "known test images" if out_set is None else name_of(out_set)
    style.panel(axes, title, color=style.KNOWN if out_set is None else style.UNKNOWN)
    measured_as = "accuracy" if out_set is None else name_of(metric)
    axes.set_ylabel(f"{measured_as}, %", **style.LABEL)
    axes.set_xlabel("epoch", **style.LABEL)
    for head, detector in methods:
      points = [
        r
        for r in [*measured, *at_the_end]
        if (r.head, r.detector, r.out_set) == (head, detector, out_set)
      ]
      if not points:
        continue
      look = {"color": style.head_colour(head), "linestyle": _DASHES.get(detector, "-")}
      for seed in sorted({r.seed for r in points}):
        curve = _by_epoch(r for r in points if r.seed == seed)
        axes.plot(
          list(curve), [100 * v for (v,) in curve.values()], linewidth=0.6, alpha=0.4, **look
        )
      curve = _by_epoch(points)
      axes.plot(list(curve), [100 * np.mean(v) for v in curve.values()], linewidth=1.8, **look)
  style.legend(
    figure,
    [
      Line2D(
        [], [], color=style.head_colour(head), linestyle=_DASHES[detector],
        label=method_name(head, detector),
      )
      for head, detector in methods
      if detector
    ],
  )  # fmt: skip
  return figure


def soak(samples: Sequence[Sample]) -> Figure:
  """Draw what a long run's process holds by step: memory, open files, and disk.

  Args:
    samples: Samples of the run, in their order.
  """
  figure = style.make_figure(width=style.WIDTH, height=2.3)
  panels = figure.subplots(1, 3)
  steps = [s.step / 1000 for s in samples]
  for axes, (title, values) in zip(
    panels,
    {
      "memory, MB": [s.memory / 1e6 for s in samples],
      "open files": [s.files for s in samples],
      "run directory, MB": [s.disk / 1e6 for s in samples],
    }.items(),
    strict=True,
  ):
    style.panel(axes, title, color=style.INK)
    axes.plot(steps, values, color=style.KNOWN)
    axes.set(xlim=(0, max(steps)), ylim=(0, 1.15 * max(values)))
    axes.set_xlabel("thousand steps", **style.LABEL)
  panels[2].plot(steps, [s.log / 1e6 for s in samples], color=style.UNKNOWN)
  below = 0.6 * samples[-1].log / 1e6
  panels[2].text(max(steps), below, "of it log ", ha="right", va="top", **style.LABEL)
  return figure


def known_and_unknown(histograms: Sequence[ScoreHistogram]) -> Figure:
  """Draw how SoftMax and IsoMax networks score what they know and what they have never seen.

  The unknown sets weigh alike, however many images they have. Below each panel is the share of
  each set that scores below its network's threshold, and the AUROC.

  Args:
    histograms: Histograms of each head: of the known test images, and of each unknown set.
  """
  figure = style.make_figure(width=7.2, height=4.7)
  figure.get_layout_engine().set(wspace=0.06)
  grid = figure.subplots(2, 2, height_ratios=(3, 1))
  for head, (axes, numbers) in zip(("softmax", "isomax"), grid.T, strict=True):
    (known,) = [h for h in histograms if (h.head, h.unknown) == (head, None)]
    unknowns = [h for h in histograms if h.head == head and h.unknown]
    style.panel(axes, "", color=style.INK)
    axes.set_title(
      HEADS.label(head), loc="left", color=style.head_colour(head), fontsize=18,
      fontweight="bold",
    )  # fmt: skip
    shares = {
      style.UNKNOWN: np.mean([h.shares for h in unknowns], axis=0),
      style.KNOWN: known.shares,
    }
    for colour, heights in shares.items():
      axes.stairs(heights, known.edges, fill=True, color=colour, alpha=0.4, linewidth=0)
      axes.stairs(heights, known.edges, color=colour, linewidth=1.6)
    axes.axvline(0, color=style.INK, linewidth=1.4, linestyle=style.DASHED)
    # Room for what is said left of the threshold, and above.
    axes.set_xlim(min(known.edges[0], -0.55 * known.edges[-1]), known.edges[-1])
    axes.set_ylim(0, 1.4 * np.max(list(shares.values())))
    axes.set(xticks=[], yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("more certain →", loc="right", **_FRONT)
    rejected = np.mean([h.rejected for h in unknowns])
    for words, x, side, colour in (
      (f"{100 * rejected:.0f} %\nrejected", -7, "right", style.UNKNOWN),
      (f"{100 * (1 - known.rejected):.0f} %\naccepted", 7, "left", style.KNOWN),
    ):
      axes.annotate(
        words, (0, 0.99), xytext=(x, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha=side, va="top", fontsize=15, fontweight="bold", color=colour,
      )  # fmt: skip
    numbers.set_axis_off()
    rows = [("", "rejected", "AUROC")]
    rows += [
      (name_of(h.unknown), *(f"{mean_text(mean, factor=100)} %" for mean in (h.rejected, h.auroc)))
      for h in unknowns
    ]
    for y, cells in zip(np.linspace(0.95, 0.05, len(rows)), rows, strict=True):
      for x, side, cell in zip((0, 0.71, 1), ("left", "right", "right"), cells, strict=True):
        numbers.text(x, y, cell, ha=side, va="center", **_FRONT)
  keys = {"known digits": style.KNOWN, "never seen: other digits, letters, photos": style.UNKNOWN}
  handles = [Patch(color=colour, alpha=0.75, label=words) for words, colour in keys.items()]
  style.legend(figure, handles, fontsize=_FRONT["fontsize"])
  return figure


def _trained_name(head: str, scale: float) -> str:
  name = name_of(head)
  return name if head == "softmax" else f"{name}, Es = {scale:g}"


def _by_epoch(records: Iterable[Record]) -> dict[float, list[float]]:
  """Gather values by the epoch of their checkpoint, in order."""
  values = collections.defaultdict(list)
  for record in records:
    rule = record.checkpoint
    epoch = record.epochs if rule == "last" else float(rule.removeprefix("epoch "))
    values[epoch].append(record.value)
  return dict(sorted(values.items()))
