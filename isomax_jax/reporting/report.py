"""HTML reports of runs, each one self-contained page."""

import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from isomax_jax._files import write_atomically
from isomax_jax.evaluation.measure import TEST
from isomax_jax.reporting import _groups, _html, figures
from isomax_jax.reporting._groups import unique
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.records import DETECTION, method_name, network_name
from isomax_jax.reporting.results import Results, read_results
from isomax_jax.reporting.tables import (
  CLASSIFICATION,
  Column,
  Table,
  metrics_table,
  overview,
  unknown_sets,
)


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
  page = _html.page(
    title=f"{', '.join(names)}: {' beside '.join(heads)}",
    facts=_facts(runs),
    results=_results(runs),
    decisions=_decisions(runs),
    calibrations=_calibrations([run for run in runs if run.calibration]),
    histograms=_histograms(runs),
    rocs=_drawings(filter(_is_scored, runs), figures.roc_curves, "rocs", "ROC curves"),
    training=_training(runs),
    examples=_examples(runs),
    settings=_settings(runs),
  )
  write_atomically(Path(path), page.encode(errors="backslashreplace"))


def _facts(runs: Sequence[Results]) -> list[str]:
  facts = [f"{len(runs)} run{'s' * (len(runs) > 1)} of {', '.join(unique(r.model for r in runs))}"]
  for key, words in (("device", "on {}"), ("git_commit", "commit {:.10}")):
    values = unique(run.environment.get(key) for run in runs)
    facts += [words.format(str(value)) for value in values if value is not None]
  return facts


def _missing(runs: Sequence[Results], get: Callable[[Results], Any], command: str) -> list[str]:
  """Return the command that makes what is missing, for each run that lacks it."""
  lacking = [run for run in runs if not get(run)]
  return [f"isomax-jax {command} {shlex.quote(str(run.path))}" for run in lacking]


def _drawings(
  runs: Iterable[Results], draw: Callable[[Sequence[Results]], Figure], name: str, label: str
) -> list[tuple[str, Markup]]:
  """Return a figure of each variant of the runs, with the variant's name."""
  return [
    (variant, _html.figure(draw(of), name=f"{name}{i}", label=f"{label} {variant}".strip()))
    for i, (variant, of) in enumerate(_groups.by_variant(list(runs)).items())
  ]


def _results(runs: Sequence[Results]) -> dict[str, Any]:
  missing = _missing(runs, lambda run: run.records, "evaluate")
  runs = [run for run in runs if run.records]
  everything = [("", [record for run in runs for record in run.records])]
  groups = [
    (name, [record for run in group for record in run.records])
    for name, group in _groups.by_split(runs).items()
  ]
  twins = [
    [run.path, other.path]
    for run, other in itertools.combinations(runs, 2)
    if _groups.settings(run) == _groups.settings(other)
  ]
  if twins:
    everything = groups = [(str(run.path), run.records) for run in runs]
  tables = [overview(groups, title="Each run" if len(runs) > 1 else "This run")] if runs else []
  if len(groups) > 1 and not twins:
    tables.insert(0, overview(everything, title="Mean over runs"))
  columns = [(None, metric) for metric in CLASSIFICATION]
  all_metrics = [metrics_table(everything, columns, title="Known test images")]
  for unknown in unknown_sets(everything):
    columns = [(unknown, metric) for metric in DETECTION]
    all_metrics.append(metrics_table(everything, columns, title=f"Unknown: {unknown}"))
  twins = twins[0] if twins else []
  return {"missing": missing, "tables": tables, "twins": twins, "all_metrics": all_metrics}


def _decisions(runs: Sequence[Results]) -> dict[str, Any]:
  missing = _missing(runs, lambda run: run.decision, "train --workdir")
  runs = [run for run in runs if run.decision]
  unknowns = unique(run.unknown(name) for run in runs for name in run.out_sets)
  columns = [Column(""), Column("threshold"), Column("temperature")]
  columns += [Column("known", group="accepted, %")]
  columns += [Column(name, group="rejected, %") for name in unknowns]
  rows = _rows(runs, lambda run: _decision_cells(run, unknowns))
  chosen = unique(
    f"so that {100 * decision['tpr']:g} % of {decision['examples']:,} are accepted"
    for run in runs
    if (decision := run.decision)
  )
  table = Table(columns=columns, rows=rows) if runs else None
  return {"missing": missing, "table": table, "chosen": chosen}


def _rows(runs: Sequence[Results], cells: Callable[[Results], list[str]]) -> list[list[str]]:
  """Return the rows of a table with a row a run, under the name of each split."""
  splits = _groups.by_split(runs)
  return [row for split, group in splits.items() for row in ([split], *map(cells, group))]


def _decision_cells(run: Results, unknowns: Sequence[str]) -> list[str]:
  decision = run.decision or {}
  accepted = {
    run.unknown(name): float(np.mean(run.scores_of(None, name) >= decision["threshold"]))
    for name in (TEST, *run.out_sets)
    if f"{run.detector}|{name}" in run.scores
  }
  shares = {name: share if name == TEST else 1 - share for name, share in accepted.items()}
  return [
    method_name(run.head, run.detector, run.objective),
    *(_number(decision[key]) for key in ("threshold", "temperature")),
    *(
      mean_text(shares[name], factor=100) if name in shares else "not run"
      for name in (TEST, *unknowns)
    ),
  ]


def _calibrations(runs: Sequence[Results]) -> dict[str, Any] | None:
  if not runs:
    return None
  columns = [Column(""), Column("temperature")]
  columns += [
    Column(name, group=group)
    for group in ("NLL, nats", "ECE, %")
    for name in ("as they are", "calibrated")
  ]
  drawings = _drawings(runs, figures.reliability_diagram, "reliability", "Reliability diagram")
  return {
    "table": Table(columns=columns, rows=_rows(runs, _calibration_cells)),
    "figures": drawings,
  }


def _calibration_cells(run: Results) -> list[str]:
  calibration = run.calibration
  if calibration is None:
    raise ValueError(f"{run.path}: calibration must be there, got None")
  values = {record.metric: mean_text(record.value, digits=3) for record in run.records}
  reliabilities = calibration.before, calibration.after
  return [
    network_name(run.head, run.objective),
    _number(calibration.temperature),
    *(values.get(f"{kind}negative_log_likelihood", "not run") for kind in ("", "calibrated_")),
    *(mean_text(found.calibration_error, factor=100) for found in reliabilities),
  ]


def _number(value: float) -> str:
  return f"{value:.4g}".replace("-", "−")


def _histograms(runs: Sequence[Results]) -> dict[str, Any]:
  groups = [
    (f"{split}, {variant}" if variant else split, group)
    for variant, members in _groups.by_variant(list(filter(_is_scored, runs))).items()
    for split, group in _groups.by_split(members).items()
  ]
  drawings = [
    (
      name,
      _html.figure(
        figures.score_histograms(group),
        name=f"histograms{number}",
        label=f"Histograms of scores, {name}",
      ),
    )
    for number, (name, group) in enumerate(groups)
  ]
  return {"missing": _missing(runs, _is_scored, "evaluate"), "figures": drawings}


def _is_scored(run: Results) -> bool:
  """Tell whether the run's own detector has scored the test images and unknown ones."""
  sets = (TEST, *run.out_sets)
  return len(sets) > 1 and all(f"{run.detector}|{name}" in run.scores for name in sets)


def _training(runs: Sequence[Results]) -> dict[str, Any]:
  missing = _missing(runs, lambda run: run.metrics, "train --workdir")
  runs = [run for run in runs if run.metrics]
  label = "Loss, accuracy and mean entropy by epoch"
  figure = _html.figure(figures.training_curves(runs), name="training", label=label) if runs else ""
  return {"missing": missing, "figure": figure}


def _examples(runs: Sequence[Results]) -> dict[str, Any]:
  missing = _missing(runs, lambda run: run.examples, "evaluate")
  shown = [
    {
      "title": run.title,
      "sets": [
        [
          {"words": f"{words}, {which}", "images": _images(run, key, name)}
          for which in ("lowest", "highest")
          if (key := f"{name}|{which}") in run.examples
        ]
        for name in unique(key.partition("|")[0] for key in run.examples)
        for words in ["Known test images" if name == TEST else f"Unknown: {name}"]
      ],
    }
    for run in runs
    if run.examples
  ]
  return {"missing": missing, "runs": shown}


def _images(run: Results, key: str, name: str) -> list[dict[str, str]]:
  """Return the images of a key of examples; the text of each says what its frame shows."""
  threshold = None if run.decision is None else run.decision["threshold"]
  images = []
  for pixels, value in zip(run.examples[key], run.examples[f"{key}|scores"], strict=True):
    score = _number(value)
    decision = "" if threshold is None else "known" if value >= threshold else "unknown"
    of = "Known test image" if name == TEST else f"Image of {name}"
    alt = f"{of}, score {score}" + (f", called {decision}" if decision else "")
    images.append({"source": _html.image(pixels), "score": score, "decision": decision, "alt": alt})
  return images


def _settings(runs: Sequence[Results]) -> dict[str, Table]:
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
  text_columns = [Column(key, is_text=True) for key in differing]
  return {
    "differing": Table(columns=[Column("run"), *text_columns], rows=rows),
    "shared": Table(columns=[Column("setting"), Column("value", is_text=True)], rows=shared),
  }
