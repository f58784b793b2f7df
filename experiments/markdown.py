"""Tables in Markdown: of methods beside each other, and of the paper's numbers beside ours."""

import collections
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from experiments.benchmarks.detectors import TARGETS
from experiments.cells import PLAIN, Paper, name_of
from experiments.cells import method as name_method
from experiments.runner import FLOAT32_MPS
from isomax_jax.detectors import DETECTORS
from isomax_jax.reporting import Record, Summary, summarize
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.records import METRIC_LABELS, method_name
from isomax_jax.reporting.tables import Column, Table, cell

METRICS = ("tnr_at_tpr", "auroc")
METHODS = tuple(
  (head, detector)
  for head in ("softmax", "isomax")
  for detector in ("maximum_probability", "entropic_score")
)
_SOFTMAX_MPS = "softmax+maximum_probability"


def markdown(table: Table) -> str:
  """Draw a table: its title above it, and after it its notes, each in a line."""
  names = [": ".join(filter(None, [column.group, column.name])) for column in table.columns]
  lines = [_row(names), _row(["---"] * len(names))]
  for i, row in enumerate(table.rows):
    name, *cells = row
    if table.is_heading(row):
      lines.append(_row([f"**{name}**", *[""] * (len(names) - 1)]))
      continue
    numbers = [f"**{x}**" if (i, j) in table.best else x for j, x in enumerate(cells, start=1)]
    lines.append(_row([name, *numbers]))
  title = [table.title, ""] if table.title else []
  notes = ["", *table.notes] if table.notes else []
  return "\n".join([*title, *lines, *notes])


def _row(cells: Iterable[str]) -> str:
  escaped = (re.sub(r"([\\|])", r"\\\1", " ".join(cell.splitlines())) for cell in cells)
  return f"| {' | '.join(escaped)} |"


def metric_columns(unknowns: Sequence[str]) -> list[Column]:
  """Return a column for each metric of each unknown set."""
  return [Column(METRIC_LABELS[m], name_of(unknown)) for unknown in unknowns for m in METRICS]


def methods_table(
  records: Sequence[Record],
  unknowns: Sequence[str],
  methods: Sequence[tuple[str, str]] = METHODS,
  *,
  title: str = "",
) -> str:
  """Tabulate methods: mean ± standard deviation in percent, a row a method, two columns a set."""
  accuracies = summarize([r for r in records if r.metric == "accuracy"], by=["head"])
  cells = summarize(
    [r for r in records if r.detector], by=["head", "detector", "unknown", "metric"]
  )
  rows = []
  for head, detector in methods:
    numbers = [cells.get((head, detector, unknown, m)) for unknown in unknowns for m in METRICS]
    rows.append([method_name(head, detector), *map(cell, [accuracies.get((head,)), *numbers])])
  notes = [
    f"{name_of(unknown)} {METRIC_LABELS[m]} {cell(plain)}"
    for unknown in unknowns
    for m in METRICS
    if (plain := cells.get(("softmax", FLOAT32_MPS, unknown, m)))
    and _differs(plain, cells["softmax", "maximum_probability", unknown, m])
  ]
  columns = [Column("method"), Column("accuracy"), *metric_columns(unknowns)]
  return markdown(Table(title=title, columns=columns, rows=rows, notes=_float32_note(notes)))


def _float32_note(notes: Sequence[str]) -> list[str]:
  """Say what the maximum probability gives with the ties at 1 that it has in float32."""
  return [f"SoftMax+MPS in float32, with its ties at 1: {', '.join(notes)}."] if notes else []


def _differs(a: Summary, b: Summary) -> bool:
  return abs(a.mean - b.mean) > 0.0005


def detectors_table(records: Sequence[Record], head: str, unknowns: Sequence[str]) -> str:
  """Tabulate detectors on networks of one head, the best mean AUROC first, and what was chosen."""
  records = [r for r in records if r.head == head and r.detector in DETECTORS]
  if not records:
    return "Not run."
  cells = summarize(records, by=["detector", "unknown", "metric"])
  means = {
    detector: statistics.fmean(cells[detector, unknown, "auroc"].mean for unknown in unknowns)
    for detector in dict.fromkeys(r.detector for r in records if r.detector)
  }
  columns = [Column("detector"), Column("mean AUROC"), *metric_columns(unknowns)]
  rows = []
  for detector in sorted(means, key=lambda name: -means[name]):
    numbers = [cell(cells[detector, unknown, m]) for unknown in unknowns for m in METRICS]
    rows.append([DETECTORS.label(detector), mean_text(means[detector], factor=100), *numbers])
  refused = [DETECTORS.label(name) for name in DETECTORS if name not in means]
  rows += [[name, *["–"] * (len(columns) - 1)] for name in refused]
  networks = {(r.in_set, r.seed) for r in records}
  count = f"{len(networks)} network{'s' if len(networks) > 1 else ''}"
  notes = [f"{count}. {' '.join(_choices(records))}"]
  return markdown(Table(columns=columns, rows=rows, notes=notes))


def _choices(records: Sequence[Record]) -> Iterator[str]:
  """Say which options were chosen for how many networks."""
  options = {
    (r.detector, r.tuned_on, r.in_set, r.seed): tuple(
      f"{name} {value:g}" for name, value in r.options.items() if isinstance(value, float)
    )
    for r in records
    if r.detector and r.tuned_on
  }
  for detector, tuned_on in dict.fromkeys(key[:2] for key in options):
    counts = collections.Counter(of for key, of in options.items() if key[0] == detector)
    chosen = ", ".join(f"{' and '.join(of)} ({n})" for of, n in counts.most_common())
    yield f"{DETECTORS.label(detector)}, chosen on {tuned_on} examples: {chosen}."


def times_table(records: Sequence[Record]) -> str:
  """Tabulate what a detector makes of the time of a forward pass: a table a machine."""
  machines = collections.defaultdict(list)
  for r in records:
    where = f"{r.device}, Python {r.versions['python']}, JAX {r.versions['jax']}, {r.time[:10]}"
    machines[where].append(r)
  tables = [_times(of, f"On {where}:") for where, of in machines.items()]
  return "\n\n".join(tables) or "Not measured yet."


def _times(records: Sequence[Record], title: str) -> str:
  """Tabulate the times of one machine, the cheapest detector first, with targets."""
  times = {
    (r.head, r.detector): r.value for r in records if r.detector and r.metric == "relative_time"
  }
  heads = list(dict.fromkeys(head for head, _ in times))
  means = {
    detector: statistics.fmean(time for (_, of), time in times.items() if of == detector)
    for detector in dict.fromkeys(detector for _, detector in times)
  }
  rows = []
  for detector in sorted(means, key=lambda name: means[name]):
    at_most = TARGETS.get(detector)
    cells = []
    for number in (times.get((head, detector)) for head in heads):
      missed = number is not None and at_most is not None and number > at_most
      cells.append("–" if number is None else f"{number:.2f}" + ", **not met**" * missed)
    target = "" if at_most is None else f" (target <= {at_most:g})"
    rows.append([name_of(detector) + target, *cells])
  columns = [Column("detector"), *(Column(name_of(head)) for head in heads)]
  return markdown(Table(title=title, columns=columns, rows=rows))


def wins(records: Sequence[Record], unknowns: Sequence[str]) -> str:
  """Say how often IsoMax+ES beat SoftMax+MPS of the same known classes and seed."""
  values = {
    (r.head, r.unknown, r.in_set, r.seed): r.value
    for r in records
    if r.metric == "tnr_at_tpr"
    and (r.head, r.detector) in (("softmax", "maximum_probability"), ("isomax", "entropic_score"))
  }
  counts = []
  for unknown in unknowns:
    pairs = [
      (value, values["softmax", unknown, in_set, seed])
      for (head, out, in_set, seed), value in values.items()
      if (head, out) == ("isomax", unknown) and ("softmax", unknown, in_set, seed) in values
    ]
    better = sum(isomax > softmax for isomax, softmax in pairs)
    counts.append(f"{better} of {len(pairs)} ({name_of(unknown)})")
  return (
    "IsoMax+ES rejects more than SoftMax+MPS of the same known classes and seed in "
    f"{', '.join(counts)}."
  )


def paper_table(
  paper: Paper, methods: Sequence[str], metric: str, records: Sequence[Record]
) -> str:
  """Tabulate one metric of a paper's table: its number, ours (n), and the difference in points.

  Args:
    paper: The paper's numbers.
    methods: Columns.
    metric: Name of the metric.
    records: What has been measured.
  """
  by = ["model", "in_set", "out_set", "head", "detector", "objective"]
  found = summarize([r for r in records if r.metric == metric], by=by)
  ours = {(*key[:3], name_method(*key[3:])): summary for key, summary in found.items()}
  places: list[tuple[Any, ...]] = [*(key[:3] for key in paper), *(key[:3] for key in ours)]
  detected = any(out_set for *_, out_set in places)
  titles = ["network", "known", *(["unknown"] if detected else [])]
  titles += [title for m in methods for title in (f"{_method(m)}, paper", "ours")]
  rows, notes = [], []
  numbers: Mapping[tuple[Any, ...], float] = paper
  for place in dict.fromkeys(places):
    cells = [name_of(part) for part in place if part]
    for method in methods:
      number, summary = numbers.get((*place, method, metric)), ours.get((*place, method))
      cells += ["–" if number is None else f"{number:.1f}", _compared(summary, number)]
      plain = ours.get((*place, f"softmax+{FLOAT32_MPS}"))
      if method == _SOFTMAX_MPS and summary and plain and _differs(plain, summary):
        notes.append(f"{' / '.join(map(name_of, place))} {cell(plain)}")
    rows.append(cells)
  columns = [Column(title) for title in titles]
  return markdown(Table(columns=columns, rows=rows, notes=_float32_note(notes)))


def spread(values: Sequence[float], *, signed: bool = False, digits: int = 2) -> str:
  """Write mean ± standard error of the mean."""
  error = statistics.stdev(values) / len(values) ** 0.5
  return mean_text(statistics.fmean(values), error, digits=digits, signed=signed)


def _compared(summary: Summary | None, number: float | None) -> str:
  if summary is None:
    return "not run"
  text = f"{cell(summary)} ({summary.n})"
  if number is None:
    return text
  return f"{text}, {mean_text(100 * summary.mean - number, signed=True)}"


def _method(method: str) -> str:
  network, _, detector = method.partition("+")
  head, _, objective = network.partition("-")
  return method_name(head, detector, objective or PLAIN) if detector else name_of(network)
