"""Tables of records: a row a method, a column a metric, under the name of each group."""

from collections.abc import Iterable, Sequence
from typing import Any

from isomax_jax.detectors import DETECTORS
from isomax_jax.reporting import _html
from isomax_jax.reporting.records import (
  DETECTION,
  METRIC_LABELS,
  Record,
  Summary,
  method_name,
  network_name,
  summarize,
)

CLASSIFICATION = ("accuracy", "negative_log_likelihood", "expected_calibration_error")
_LOWER_IS_BETTER = ("fpr_at_tpr",)
# What tells the rows of a table apart, besides the detector.
_METHOD = (
  "experiment", "model", "head", "objective", "outliers", "entropic_scale", "epochs", "checkpoint",
  "known",
)  # fmt: skip

Groups = Sequence[tuple[str, Sequence[Record]]]
"""Names and records; an empty name gets no line in a table."""


def overview(groups: Groups) -> str:
  """Return the table of accuracy and, for each unknown set, the two metrics that matter most."""
  unknowns = unknown_sets(groups)
  columns = [(None, "accuracy")]
  columns += [(unknown, metric) for unknown in unknowns for metric in DETECTION[:2]]
  return metrics_table(groups, columns, spans=[("", 2), *((unknown, 2) for unknown in unknowns)])


def metrics_table(
  groups: Groups,
  columns: Sequence[tuple[str | None, str]],
  *,
  spans: Sequence[tuple[str, int]] = (),
) -> str:
  """Return a table with a row a method, under the name of each group of records.

  Args:
    groups: The records.
    columns: Unknown set (None for metrics of the known set alone) and metric of each column.
    spans: Names and widths of groups of columns.

  Returns:
    The element.
  """
  rows: list[list[str]] = []
  best = set()
  detected = any(unknown for unknown, _ in columns)
  for name, records in groups:
    summaries = summarize(records, by=(*_METHOD, "detector", "unknown", "metric"))
    methods = _ordered(key[:-2] for key in summaries if (key[-2] is not None) == detected)
    values = [
      [
        summaries.get((*method[:-1], method[-1] if unknown else None, unknown, metric))
        for unknown, metric in columns
      ]
      for method in methods
    ]
    rows += [[name]] if name else []
    for j, (unknown, metric) in enumerate(columns):
      # Rounded as shown, so that equal numbers look equal.
      means = {i: round(row[j].mean, 3) for i, row in enumerate(values) if row[j]}
      if unknown and len(means) > 1:
        target = (min if metric in _LOWER_IS_BETTER else max)(means.values())
        best |= {(len(rows) + i, j + 1) for i, mean in means.items() if mean == target}
    rows += [
      [
        _method_label(method, methods) + _count(row),
        *map(_cell, [metric for _, metric in columns], row),
      ]
      for method, row in zip(methods, values, strict=True)
    ]
  header = ["", *(METRIC_LABELS.get(metric, metric) for _, metric in columns)]
  return _html.table(header, rows, groups=spans, best=best)


def unknown_sets(groups: Groups) -> list[str]:
  """Return the names of the unknown sets in the order of the records."""
  return unique(r.unknown for _, records in groups for r in records if r.unknown is not None)


def unique(values: Iterable[Any]) -> list[Any]:
  """Return each value once, in the order in which they come."""
  return list(dict.fromkeys(values))


def _ordered(methods: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
  """Sort the detectors of each method: those that are registered first, in their order."""
  methods = unique(methods)
  heads = unique(method[:-1] for method in methods)
  names = list(DETECTORS)

  def rank(method):
    known = method[-1] in names
    return heads.index(method[:-1]), names.index(method[-1]) if known else len(names)

  return sorted(methods, key=rank)


def _method_label(method: tuple[Any, ...], methods: Sequence[tuple[Any, ...]]) -> str:
  """Name a method by head and detector, and by what else tells it from others of its head."""
  *values, detector = method
  own = dict(zip(_METHOD, values, strict=True))
  checkpoints = {other[_METHOD.index("checkpoint")] for other in methods}
  head, objective = own["head"], own["objective"]
  named = method_name(head, detector, objective) if detector else network_name(head, objective)
  parts = [named, own["experiment"]]
  parts += [own["checkpoint"]] if len(checkpoints) > 1 else []
  return ", ".join(part for part in parts if part)


def _count(row: Sequence[Summary | None]) -> str:
  counts = sorted({summary.n for summary in row if summary})
  return f", n = {'–'.join(map(str, counts))}" if counts and counts[-1] > 1 else ""


def _cell(metric: str, summary: Summary | None) -> str:
  if summary is None:
    return "not run"
  return summary.text(factor=1, digits=3) if metric == "negative_log_likelihood" else summary.text()
