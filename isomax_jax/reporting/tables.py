"""A table as a value, which terminal, page and Markdown each draw in their own way; and of records.

A table of records has a row a method and a column a metric, under the name of each unknown set.
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from isomax_jax.detectors import DETECTORS
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
"""The metrics of the known set in the order of tables."""
_LOWER_IS_BETTER = ("fpr_at_tpr",)


@dataclasses.dataclass(frozen=True)
class Column:
  """Column of a table.

  Attributes:
    name: What stands above it.
    group: Name of the group of neighbouring columns that it belongs to, or empty.
    is_text: Whether its cells are words, on the left, and not numbers, on the right.
  """

  name: str
  group: str = ""
  is_text: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
  """A table of text.

  Attributes:
    columns: The columns, of which the first holds the names of the rows.
    rows: Cells of each row; a row that has its name alone heads the rows below it.
    title: What stands above the table, or empty.
    best: Row and column of each cell that is the best of its column.
    notes: Lines below the table.

  Raises:
    ValueError: If there is no column, or a row has neither one cell nor one in each.

  Example:
    >>> Table(columns=[Column("method"), Column("AUROC")], rows=[["IsoMax+ES", "98.0", "97.0"]])
    Traceback (most recent call last):
    ValueError: rows must have 1 or 2 cells, got 3 in that of 'IsoMax+ES'
  """

  columns: Sequence[Column]
  rows: Sequence[Sequence[str]]
  title: str = ""
  best: Collection[tuple[int, int]] = ()
  notes: Sequence[str] = ()

  def __post_init__(self) -> None:
    if not self.columns:
      raise ValueError("columns must be one or more, got none")
    for row in self.rows:
      if len(row) not in (1, len(self.columns)):
        expected, got = f"1 or {len(self.columns)}", f"{len(row)} in that of {''.join(row[:1])!r}"
        raise ValueError(f"rows must have {expected} cells, got {got}")

  def is_heading(self, row: Sequence[str]) -> bool:
    """Tell whether a row has its name alone and heads those below it."""
    return len(row) == 1 < len(self.columns)

  @property
  def groups(self) -> list[tuple[str, list[int]]]:
    """Name and columns of each group; a column that is in none is by itself, under no name."""
    groups: list[tuple[str, list[int]]] = []
    for number, column in enumerate(self.columns):
      if column.group and groups and groups[-1][0] == column.group:
        groups[-1][1].append(number)
      else:
        groups.append((column.group, [number]))
    return groups


class _Method(NamedTuple):
  """Fields of records that distinguish the rows of a table."""

  experiment: str
  model: str
  head: str
  objective: str
  outliers: str | None
  entropic_scale: float
  epochs: float
  checkpoint: str
  known: str
  detector: str | None


Groups = Sequence[tuple[str, Sequence[Record]]]
"""Names and records; an empty name gets no line in a table."""


def overview(
  groups: Groups,
  *,
  metrics: Sequence[str] = DETECTION[:2],
  title: str = "",
  names: str = "",
  counted: bool = True,
) -> Table:
  """Return the table of accuracy and of a few metrics of each unknown set.

  Args:
    groups: Groups of rows.
    metrics: The metrics, by default the two that matter most.
    title: Title of the table.
    names: What stands above the names of the rows.
    counted: Whether a row says how many runs it is a mean of, where there are several.
  """
  columns = [(None, "accuracy"), *((u, metric) for u in unknown_sets(groups) for metric in metrics)]
  return metrics_table(groups, columns, title=title, names=names, counted=counted)


def metrics_table(
  groups: Groups,
  columns: Sequence[tuple[str | None, str]],
  *,
  title: str = "",
  names: str = "",
  counted: bool = True,
) -> Table:
  """Return the table of metrics, each of an unknown set, or None for the known one.

  A method is named by its head and detector, and by its experiment where that has a name.
  """
  rows: list[list[str]] = []
  best = set()
  sets = {unknown for unknown, _ in columns}
  for name, records in groups:
    summaries = summarize(records, by=(*_Method._fields, "unknown", "metric"))
    methods = _ordered(_method(r) for r in records if (r.unknown is None) == (sets == {None}))
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
      means = {i: round(100 * each.mean, 1) for i, row in enumerate(values) if (each := row[j])}
      if unknown and len(means) > 1:
        target = (min if metric in _LOWER_IS_BETTER else max)(means.values())
        best |= {(len(rows) + i, j + 1) for i, mean in means.items() if mean == target}
    rows += [
      [
        _method_label(method, methods) + (_count(row) if counted else ""),
        *(cell(summary, metric) for (_, metric), summary in zip(columns, row, strict=True)),
      ]
      for method, row in zip(methods, values, strict=True)
    ]
  header = [
    Column(METRIC_LABELS.get(metric, metric), group=unknown or "" if len(sets) > 1 else "")
    for unknown, metric in columns
  ]
  return Table(title=title, columns=[Column(names), *header], rows=rows, best=best)


def unknown_sets(groups: Groups) -> list[str]:
  """Return the names of the unknown sets in the order of the records."""
  return unique(r.unknown for _, records in groups for r in records if r.unknown is not None)


def cell(summary: Summary | None, metric: str = "") -> str:
  """Write a cell: in percent, or in nats where that is the metric's unit."""
  if summary is None:
    return "not run"
  return summary.text(factor=1, digits=3) if metric == "negative_log_likelihood" else summary.text()


def _method(record: Record) -> _Method:
  return _Method(*(getattr(record, name) for name in _Method._fields))


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
