"""HTML tables of records: a row a method, a column a metric, under the name of each group."""

import collections
from collections.abc import Iterable, Sequence

from isomax_jax.detectors import DETECTORS
from isomax_jax.reporting import _html
from isomax_jax.reporting._groups import position, unique
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
# Fields of records that distinguish the rows of a table.
_Method = collections.namedtuple(
  "_Method",
  "experiment model head objective outliers entropic_scale epochs checkpoint known detector",
)

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
  """Return the table of metrics, each a column with its unknown set or None for the known set.

  The spans are names and widths of groups of columns.
  """
  rows: list[list[str]] = []
  best = set()
  detected = any(unknown for unknown, _ in columns)
  for name, records in groups:
    summaries = summarize(records, by=(*_Method._fields, "unknown", "metric"))
    methods = _ordered(_Method(*k[:-2]) for k in summaries if (k[-2] is not None) == detected)
    values = [
      [
        summaries.get((*(method if unknown else method._replace(detector=None)), unknown, metric))
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
        *(_cell(metric, summary) for (_, metric), summary in zip(columns, row, strict=True)),
      ]
      for method, row in zip(methods, values, strict=True)
    ]
  header = ["", *(METRIC_LABELS.get(metric, metric) for _, metric in columns)]
  return _html.table(header, rows, groups=spans, best=best)


def unknown_sets(groups: Groups) -> list[str]:
  """Return the names of the unknown sets in the order of the records."""
  return unique(r.unknown for _, records in groups for r in records if r.unknown is not None)


def _ordered(methods: Iterable[_Method]) -> list[_Method]:
  """Sort the detectors of each method: those that are registered first, in their order."""
  methods = unique(methods)
  networks = unique(method[:-1] for method in methods)
  return sorted(methods, key=lambda m: (networks.index(m[:-1]), position(m.detector, DETECTORS)))


def _method_label(method: _Method, methods: Sequence[_Method]) -> str:
  """Name a method by head and detector, and by what else distinguishes it in its table."""
  if method.detector:
    name = method_name(method.head, method.detector, method.objective)
  else:
    name = network_name(method.head, method.objective)
  several = len({other.checkpoint for other in methods}) > 1
  return ", ".join(filter(None, [name, method.experiment, method.checkpoint if several else ""]))


def _count(row: Sequence[Summary | None]) -> str:
  counts = sorted({summary.n for summary in row if summary})
  return f", n = {'–'.join(map(str, counts))}" if counts and counts[-1] > 1 else ""


def _cell(metric: str, summary: Summary | None) -> str:
  if summary is None:
    return "not run"
  return summary.text(factor=1, digits=3) if metric == "negative_log_likelihood" else summary.text()
