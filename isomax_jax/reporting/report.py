"""HTML reports of runs, each one self-contained page."""

import itertools
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from isomax_jax._files import write_atomically
from isomax_jax.evaluation.measure import TEST
from isomax_jax.reporting import _groups, _html, figures, style
from isomax_jax.reporting._groups import unique
from isomax_jax.reporting._tables import CLASSIFICATION, metrics_table, overview, unknown_sets
from isomax_jax.reporting.records import DETECTION, method_name, network_name
from isomax_jax.reporting.results import Results, read_results


def write_report(run_dirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
  """Write a report of runs: one HTML file that needs no other file and no network.

  It holds the results (mean over the runs and each run), thresholds, calibration, score histograms,
  ROC curves, training curves, example images and settings. Runs of one split and seed are side by
  side. What a run lacks so far is named with the command that makes it, but for calibration.

  Args:
    run_dirs: Run directories.
    path: The file; written whole or not at all, its directory is made where it is missing.

  Raises:
    ValueError: If there are no directories, one is not a run, or a file in it is corrupt.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   _ = Path(directory, "config.json").write_text(
    ...     '{"data": {"name": "mnist_5k"}, "seed": 0,'
    ...     ' "model": {"name": "small_cnn", "head": "isomax"}}')
    ...   write_report([directory], Path(directory, "report.html"))
    ...   Path(directory, "report.html").read_text()[:15]
    '<!DOCTYPE html>'
  """
  if not run_dirs:
    raise ValueError("run_dirs must name a run directory or more, got none")
  runs = _groups.side_by_side(_groups.name_variants([read_results(each) for each in run_dirs]))
  names = unique(run.in_set.partition(":")[0] for run in runs)
  heads = unique(network_name(run.head, run.objective) for run in runs)
  title = f"{', '.join(names)}: {' beside '.join(heads)}"
  body = [
    *_heading(title, runs),
    *_results(runs),
    *_decisions(runs),
    *_calibrations(runs),
    *_histograms(runs),
    *_rocs(runs),
    *_curves(runs),
    *_examples(runs),
    *_what_was_run(runs),
    *_references(),
  ]
  write_atomically(Path(path), _html.page(title, body).encode())


def _heading(title: str, runs: Sequence[Results]) -> list[str]:
  facts = [f"{len(runs)} run{'s' * (len(runs) > 1)} of {', '.join(unique(r.model for r in runs))}"]
  for key, words in (("device", "on {}"), ("git_commit", "commit {:.10}")):
    values = unique(run.environment.get(key) for run in runs)
    facts += [words.format(str(value)) for value in values if value is not None]
  return [
    _html.element("h1", title),
    _html.element("p", " · ".join(facts), css="soft"),
    _html.element(
      "p",
      "Each network was trained on images of known classes alone. A detector gives an image a "
      "score: the higher, the more it looks like what the network knows. Here the known set's "
      "test images are told by that score from images of sets that the network has never seen.",
    ),
  ]


def _section(
  title: str, runs: Sequence[Results], get: Callable[[Results], Any], what: str, command: str
) -> tuple[list[str], list[Results]]:
  """Return a heading, with a note on what runs lack and the command that makes it; the others."""
  pieces = [_html.element("h2", title)]
  lacking = [run for run in runs if not get(run)]
  if lacking:
    commands = ", ".join(f"`isomax-jax {command} {shlex.quote(str(run.path))}`" for run in lacking)
    pieces.append(_html.element("p", f"No {what} yet; made by {commands}", css="missing"))
  return pieces, [run for run in runs if get(run)]


def _figures(
  runs: Sequence[Results], draw: Callable[[Sequence[Results]], Figure], name: str, label: str,
  caption: str,
) -> list[str]:  # fmt: skip
  """Return a figure of each variant of the runs, under the variant's name."""
  pieces = []
  for number, (variant, members) in enumerate(_groups.by_variant(runs).items()):
    drawing = _html.figure(
      draw(members), name=f"{name}{number}", label=f"{label} {variant}".strip(), caption=caption
    )
    pieces += [_html.element("h3", variant), drawing] if variant else [drawing]
  return pieces


def _results(runs: Sequence[Results]) -> list[str]:
  pieces, runs = _section("Results", runs, lambda run: run.records, "results", "evaluate")
  if not runs:
    return pieces
  everything = [("", [record for run in runs for record in run.records])]
  groups = [
    (name, [record for run in group for record in run.records])
    for name, group in _groups.by_split(runs).items()
  ]
  twins = [
    f"{run.path} and {other.path}"
    for run, other in itertools.combinations(runs, 2)
    if _groups.settings(run) == _groups.settings(other)
  ]
  if twins:
    text = f"No mean over runs: {twins[0]} have the same settings, split and seed."
    pieces.append(_html.element("p", text, css="missing"))
    everything = groups = [(str(run.path), run.records) for run in runs]
  elif len(groups) > 1:
    pieces += [_html.element("h3", "Mean over runs"), overview(everything)]
  pieces += [_html.element("h3", "Each run" if len(runs) > 1 else "This run"), overview(groups)]
  text = (
    "In percent, NLL in nats; after ± the standard deviation over n runs; bold is the best of its "
    "column. AUROC: how often a known image scores higher than an unknown one. TNR@TPR95: unknown "
    "images rejected where 95 % of the known ones are accepted; FPR@TPR95 is the rest. DTACC: the "
    "best mean of known accepted and unknown rejected. AUPR: area under precision and recall, with "
    "known (in) or unknown (out) images as positives. NLL: negative log-likelihood, and ECE: "
    "expected calibration error, of the class probabilities before they are calibrated."
  )
  pieces.append(_html.element("p", text, css="soft"))
  columns = [(None, metric) for metric in CLASSIFICATION]
  tables = [_html.element("h3", "Known test images"), metrics_table(everything, columns)]
  for unknown in unknown_sets(everything):
    columns = [(unknown, metric) for metric in DETECTION]
    tables += [_html.element("h3", f"Unknown: {unknown}"), metrics_table(everything, columns)]
  return [*pieces, _html.details("All metrics", tables)]


def _decisions(runs: Sequence[Results]) -> list[str]:
  pieces, runs = _section(
    "Threshold and temperature", runs, lambda run: run.decision, "decision", "train --workdir"
  )
  if not runs:
    return pieces
  unknowns = unique(run.unknown(name) for run in runs for name in run.out_sets)
  header = ["", "threshold", "temperature", "known", *unknowns]
  groups = [("", 3), ("accepted, %", 1), *([("rejected, %", len(unknowns))] if unknowns else [])]
  chosen = unique(
    f"so that {100 * run.decision['tpr']:g} % of {run.decision['examples']:,} are accepted"
    for run in runs
  )
  return [
    *pieces,
    _html.table(header, _rows(runs, lambda run: _decision_cells(run, unknowns)), groups=groups),
    _html.bullets(
      [
        "The threshold is the score from which on an image is called known. It was chosen on "
        f"training images held out for it, {' or '.join(chosen)}; the share of test images can "
        "differ a little. No unknown image had a part in it.",
        "The temperature divides the logits before the softmax, so that the probabilities that "
        "`isomax-jax predict` prints agree with how often it is right. It was fitted on the same "
        "held-out images and changes neither label nor score. Above 1 the network was too sure, "
        "below 1 too cautious; IsoMax is cautious by design.",
      ]
    ),
  ]


def _rows(runs: Sequence[Results], cells: Callable[[Results], list[str]]) -> list[list[str]]:
  """Return the rows of a table with a row a run, under the name of each split."""
  splits = _groups.by_split(runs)
  return [row for split, group in splits.items() for row in ([split], *map(cells, group))]


def _decision_cells(run: Results, unknowns: Sequence[str]) -> list[str]:
  accepted = {
    run.unknown(name): np.mean(run.scores_of(None, name) >= run.decision["threshold"])
    for name in (TEST, *run.out_sets)
    if f"{run.detector}|{name}" in run.scores
  }
  shares = {name: share if name == TEST else 1 - share for name, share in accepted.items()}
  return [
    method_name(run.head, run.detector, run.objective),
    *(_number(run.decision[key]) for key in ("threshold", "temperature")),
    *(f"{100 * shares[name]:.1f}" if name in shares else "not run" for name in (TEST, *unknowns)),
  ]


def _calibrations(runs: Sequence[Results]) -> list[str]:
  runs = [run for run in runs if run.calibration is not None]
  if not runs:
    return []
  header = ["", "temperature", "as they are", "calibrated", "as they are", "calibrated"]
  groups = [("", 2), ("NLL, nats", 2), ("ECE, %", 2)]
  return [
    _html.element("h2", "Calibration"),
    _html.element(
      "p",
      "Whether class probabilities can be taken at their word: of test images that are classified "
      "with a confidence of 90 %, nine in ten should be classified correctly. The temperature was "
      "fitted on held-out training images. Detectors work without it.",
    ),
    _html.table(header, _rows(runs, _calibration_cells), groups=groups),
    *_figures(
      runs,
      figures.reliability_diagram,
      "reliability",
      "Reliability diagram",
      "Accuracy by confidence, the maximum probability, of known test images. Dashed: as "
      "sure as right; above it too cautious, below it too sure. The larger a dot, the more images; "
      "below, their number. Runs of one head are taken together; ECE is their mean.",
    ),
  ]


def _calibration_cells(run: Results) -> list[str]:
  temperature, *reliabilities = run.calibration
  values = {record.metric: f"{record.value:.3f}" for record in run.records}
  return [
    network_name(run.head, run.objective),
    _number(temperature),
    *(values.get(f"{kind}negative_log_likelihood", "not run") for kind in ("", "calibrated_")),
    *(f"{100 * found.calibration_error:.1f}" for found in reliabilities),
  ]


def _number(value: float) -> str:
  return f"{value:.4g}".replace("-", "−")


def _histograms(runs: Sequence[Results]) -> list[str]:
  title = "Scores of known and unknown images"
  pieces, runs = _section(title, runs, _is_scored, "scores", "evaluate")
  groups = [
    (f"{split}, {variant}" if variant else split, group)
    for variant, members in _groups.by_variant(runs).items()
    for split, group in _groups.by_split(members).items()
  ]
  for number, (name, group) in enumerate(groups):
    drawing = _html.figure(
      figures.score_histograms(group),
      name=f"histograms{number}",
      label=f"Histograms of scores, {name}",
      caption="Share of images by score. Better detectors keep the two apart. Dashed: the run's "
      "threshold; left of it an image is called unknown.",
    )
    pieces.append(_html.details(name, [drawing]))
  return pieces


def _rocs(runs: Sequence[Results]) -> list[str]:
  drawings = _figures(
    [run for run in runs if _is_scored(run)],
    figures.roc_curves,
    "rocs",
    "ROC curves",
    "Known images accepted against unknown images accepted, over all thresholds. Where "
    "there are several runs of a head: thin each run, bold their mean; the numbers are means.",
  )
  return [_html.element("h2", "ROC curves"), *drawings] if drawings else []


def _is_scored(run: Results) -> bool:
  """Tell whether the run's own detector has scored the test images and unknown ones."""
  sets = (TEST, *run.out_sets)
  return len(sets) > 1 and all(f"{run.detector}|{name}" in run.scores for name in sets)


def _curves(runs: Sequence[Results]) -> list[str]:
  pieces, runs = _section(
    "Training", runs, lambda run: run.metrics, "training log", "train --workdir"
  )
  if not runs:
    return pieces
  drawing = _html.figure(
    figures.training_curves(runs),
    name="training",
    label="Loss, accuracy and mean entropy by epoch",
    caption="Entropy of the class probabilities that detection uses, without the entropic scale. "
    "IsoMax is made to keep it high while it learns to classify.",
  )
  return [*pieces, drawing]


def _examples(runs: Sequence[Results]) -> list[str]:
  title = "Images with the lowest and the highest scores"
  pieces, runs = _section(title, runs, lambda run: run.examples, "example images", "evaluate")
  if runs:
    text = "Solid blue frames: called known. Dashed orange frames: called unknown. Below: score."
    pieces.append(_html.element("p", text, css="soft"))
  for number, run in enumerate(runs):
    rows = []
    for name in unique(key.partition("|")[0] for key in run.examples):
      words = "Known test images" if name == TEST else f"Unknown: {name}"
      pair = [
        _html.element("p", f"{words}, {which} scores", css="soft") + _html.images(_frames(run, key))
        for which in ("lowest", "highest")
        if (key := f"{name}|{which}") in run.examples
      ]
      rows.append(_html.pair(pair))
    pieces.append(_html.details(run.title, rows, opened=number < 2))
  return pieces


def _frames(run: Results, key: str) -> list[tuple[bytes, str, str]]:
  threshold = None if run.decision is None else run.decision["threshold"]
  return [
    (
      style.png(image),
      _number(score),
      "" if threshold is None else "known" if score >= threshold else "unknown",
    )
    for image, score in zip(run.examples[key], run.examples[f"{key}|scores"], strict=True)
  ]


def _what_was_run(runs: Sequence[Results]) -> list[str]:
  tables = []
  for run in runs:
    table = _groups.flatten(run.config) | _groups.flatten(run.environment, "environment.")
    if run.decision is not None:
      table["class names"] = ", ".join(run.decision["class_names"])
    tables.append(table)
  keys = unique(key for table in tables for key in table)
  differing = [key for key in keys if len({table.get(key, "") for table in tables}) > 1]
  shared = [[key, tables[0].get(key, "")] for key in keys if key not in differing]
  rows = [
    [str(run.path), *(table.get(key, "") for key in differing)]
    for run, table in zip(runs, tables, strict=True)
  ]
  settings = _html.table(["setting", "value"], shared, text_columns=[1])
  return [
    _html.element("h2", "What was run"),
    _html.table(["run", *differing], rows, text_columns=range(1, len(keys) + 1)),
    _html.details("Settings and versions common to all", [settings]),
  ]


def _references() -> list[str]:
  lines = [
    "IsoMax and the entropic score (ES): D. Macêdo, T. I. Ren, C. Zanchettin, A. L. I. Oliveira "
    "and T. Ludermir, Isotropy Maximization Loss and Entropic Score.",
    "The maximum probability (MPS): D. Hendrycks and K. Gimpel, A Baseline for Detecting "
    "Misclassified and Out-of-Distribution Examples in Neural Networks. Ranked here by its "
    "log-odds, the same order without ties at a probability of 1.",
  ]
  return [_html.element("h2", "References"), _html.bullets(lines)]
