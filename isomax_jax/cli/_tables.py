"""Tables for the terminal."""

import statistics
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from isomax_jax.detectors import DETECTORS
from isomax_jax.reporting.records import (
  DETECTION,
  METRIC_LABELS,
  Record,
  method_name,
  summarize,
)
from isomax_jax.runs.compile import Program

_METRICS = ("tnr_at_tpr", "auroc")


def console() -> Console:
  """A console that doesn't fold tables where the output is no terminal."""
  # Names of files and classes may hold what Rich would take for markup: a style is a ``Text``.
  console = Console(markup=False, emoji=False)
  return console if console.is_terminal else Console(width=160, markup=False, emoji=False)


def results_table(records: Sequence[Record], *, title: str, detectors: Sequence[str]) -> Table:
  """Tabulate accuracy and detection in percent: a row a method, columns a set.

  Records that differ in seed and split alone are averaged: a cell is their mean, with the standard
  deviation where there are several.
  """
  network = ["head", "objective"]
  accuracies = summarize((r for r in records if r.metric == "accuracy"), by=network)
  cells = summarize(
    (r for r in records if r.metric in _METRICS), by=[*network, "detector", "unknown", "metric"]
  )
  unknowns = list(dict.fromkeys(unknown for *_, unknown, _ in cells))
  table = Table(title=title, title_justify="left")
  table.add_column("method")
  table.add_column("accuracy", justify="right")
  for unknown in unknowns:
    for metric in _METRICS:
      table.add_column(f"{unknown}\n{METRIC_LABELS[metric]}", justify="right")
  for (head, objective), accuracy in accuracies.items():
    for detector in detectors:
      key = head, objective, detector
      numbers = [cells[*key, u, m].text() for u in unknowns for m in _METRICS]
      table.add_row(method_name(head, detector, objective), accuracy.text(), *numbers)
  return table


def benchmark_tables(
  records: Sequence[Record], *, near: Sequence[str], refused: Sequence[str], title: str
) -> Iterator[Table | str]:
  """Tabulate detectors in percent, the best mean AUROC first: by groups of sets, and set by set.

  Args:
    records: Records of one network, each detector's ``relative_time`` among them.
    near: Unknown sets that are near to the known one; the others are far.
    refused: Detectors that the network cannot have; each has a row of dashes.
    title: What the tables' titles begin with.
  """
  detections = [r for r in records if r.out_set is not None]
  times = {r.detector: r.value for r in records if r.metric == "relative_time"}
  values = {(r.detector, r.out_set, r.metric): 100 * r.value for r in detections}
  out_sets = list(dict.fromkeys(r.out_set for r in detections))
  tuned_on_test = {(r.detector, r.out_set) for r in detections if r.tuned_on == r.out_set}

  def mean(detector: str, sets: Sequence[str], metric: str) -> float:
    return statistics.fmean(values[detector, out_set, metric] for out_set in sets)

  def shown(detector: str, sets: Sequence[str], metric: str) -> str:
    mark = "†" if any((detector, out_set) in tuned_on_test for out_set in sets) else ""
    return f"{mean(detector, sets, metric):.1f}{mark}"

  detectors = sorted(times, key=lambda name: -mean(name, out_sets, "auroc"))

  def tabulate(heading: str, columns: Sequence[str], rows: dict[str, list[str]]) -> Table:
    table = Table("detector", title=f"{title}: {heading}", title_justify="left")
    for column in columns:
      table.add_column(column, justify="right")
    for detector, cells in (rows | dict.fromkeys(refused, ["–"] * len(columns))).items():
      table.add_row(DETECTORS.label(detector), *cells)
    return table

  for name in ("near", "far"):
    members = [each for each in out_sets if (each in near) == (name == "near")]
    if members:
      columns = ["time", *(METRIC_LABELS[metric] for metric in DETECTION)]
      rows = {
        each: [f"{times[each]:.2f}", *(shown(each, members, metric) for metric in DETECTION)]
        for each in detectors
      }
      yield tabulate(f"{name} sets, {', '.join(members)}", columns, rows)
  rows = {each: [shown(each, [out_set], "auroc") for out_set in out_sets] for each in detectors}
  yield tabulate("AUROC of each set", out_sets, rows)
  yield "time: of forward pass and score together, over the forward pass alone"
  if tuned_on_test:
    yield "†: options chosen on this very set"
  for record in {r.detector: r for r in detections if r.tuned_on}.values():
    chosen = ", ".join(f"{name} {_option(value)}" for name, value in record.options.items())
    yield f"{DETECTORS.label(record.detector)}: {chosen}; chosen on {record.tuned_on}"


def programs_table(programs: Sequence[Program], *, title: str) -> Table:
  """Tabulate what compiled programs, one or more, need of one device."""
  table = Table("program, on one device", title=title, title_justify="left")
  for column in (*(f"{name}, MB" for name in programs[0].memory), "GFLOP a step", "compiled in, s"):
    table.add_column(column, justify="right")
  for program in programs:
    name = f"{program.name}, {program.steps} steps" if program.steps > 1 else program.name
    sizes = [f"{size / 1e6:,.1f}" for size in program.memory.values()]
    table.add_row(name, *sizes, f"{program.flops / 1e9:,.2f}", f"{program.seconds:.0f}")
  return table


def _option(value: float | Sequence[float]) -> str:
  if isinstance(value, Sequence):
    return f"[{', '.join(map(_option, value))}]"
  return f"{value:.4g}"
