"""Tables for the terminal."""

import dataclasses
import os
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from isomax_jax.detectors import DETECTORS
from isomax_jax.reporting.folding import fold, pieces
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.records import DETECTION, METRIC_LABELS, Record
from isomax_jax.reporting.tables import Column, Table, overview
from isomax_jax.runs.compile import Program

# Where the output is no terminal and nothing says how wide it may be.
_WIDTH = 160
_NARROWEST = 40
# Words longer than this may be broken.
_WORD = 16


def console() -> Console:
  """A console as wide as the terminal or as ``COLUMNS`` says, and else wide enough for tables."""
  # Names of files and classes may hold what Rich would take for markup: a style is a ``Text``.
  console = Console(markup=False, emoji=False)
  wished = os.environ.get("COLUMNS", "")
  if console.is_terminal and not wished.isdigit():
    return console  # Of the width that the window has when something is printed.
  is_known = wished.isdigit() and int(wished) > 0
  return Console(
    width=max(console.width, _NARROWEST) if is_known else _WIDTH, markup=False, emoji=False
  )


def show(
  terminal: Console, table: Table, *, styles: Mapping[tuple[int, int], str] | None = None
) -> None:
  """Print a table; columns that have no room are continued below, those of a group together.

  Args:
    terminal: Where to.
    table: The table. Nothing of it is cut: long words are folded.
    styles: Rich's styles of cells by their row and column; the best of a column are bold.
  """
  styles = dict.fromkeys(table.best, "bold") | dict(styles or {})
  room = max(terminal.width, _NARROWEST)
  needs = _needs(table, room)
  for part, block in enumerate(_blocks(table, [least for least, _ in needs], room)):
    title = ", ".join(filter(None, [table.title, "continued" * (part > 0)]))
    drawn = RichTable(title=title or None, title_justify="left")
    widths = _widths([needs[j] for j in block], room)
    for j, width in zip(block, widths, strict=True):
      column = table.columns[j]
      header = "\n".join(_fold(text, width) for text in (column.group, column.name) if text)
      drawn.add_column(
        header, justify="left" if column.is_text or not j else "right", width=width, overflow="fold"
      )
    for i, row in enumerate(table.rows):
      if table.is_heading(row):
        drawn.add_section()
        drawn.add_row(Text(_fold(row[0], widths[0]), "bold"))
      else:
        cells = [_fold(row[j], width) for j, width in zip(block, widths, strict=True)]
        drawn.add_row(
          *(Text(cell, styles.get((i, j), "")) for j, cell in zip(block, cells, strict=True))
        )
    terminal.print(drawn, width=room, crop=False)
  for note in table.notes:
    terminal.print(note)


def _needs(table: Table, width: int) -> list[tuple[int, int]]:
  """Return of each column the width that it needs, and the one at which nothing is folded."""
  needs: list[tuple[int, int]] = []
  for j, column in enumerate(table.columns):
    cells = [row[j] for row in table.rows if not table.is_heading(row)]
    longest = max(1, *map(cell_len, [*cells, column.group, column.name]))
    if j == 0:
      needs.append((min(longest, max(_WORD, width // 3)), longest))
      continue
    words = [column.group, column.name, *(cells if column.is_text else [])]
    parts = [min(_WORD, cell_len(piece.rstrip())) for word in words for piece in pieces(word)]
    # A number is never folded where there is room for it.
    numbers = [] if column.is_text else map(cell_len, cells)
    needs.append((min(max([1, *parts, *numbers]), width - _room([needs[0][0], 0])), longest))
  return needs


def _blocks(table: Table, least: Sequence[int], width: int) -> list[list[int]]:
  """Return the columns of each part of a table that fits a width, the rows' names in each."""
  blocks: list[list[int]] = [[0]]
  for _, members in table.groups[1:]:
    is_whole = _room([least[j] for j in (0, *members)]) <= width
    for part in [members] if is_whole else [[j] for j in members]:
      if len(blocks[-1]) > 1 and _room([least[j] for j in (*blocks[-1], *part)]) > width:
        blocks.append([0])
      blocks[-1] += part
  return blocks


def _widths(needs: Sequence[tuple[int, int]], width: int) -> list[int]:
  """Return the widths of a part's columns: what they need and, while there is room, can use."""
  widths = [least for least, _ in needs]
  # Names of rows come first.
  widths[0] = min(needs[0][1], widths[0] + max(0, width - _room(widths)))
  while _room(widths) < width:
    short = [i for i, (_, most) in enumerate(needs) if widths[i] < most]
    if not short:
      break
    widths[min(short, key=widths.__getitem__)] += 1
  return widths


def _room(widths: Sequence[int]) -> int:
  """Return the width of a table of columns: there is a line and a blank on either side of each."""
  return 1 + sum(3 + width for width in widths)


def _fold(text: str, width: int) -> str:
  return fold(text, lambda line: cell_len(line) <= width)


def results_table(
  records: Sequence[Record], *, title: str, detectors: Collection[str] | None = None
) -> Table:
  """Tabulate accuracy and detection in percent: a row a method, columns a set.

  Records that differ in seed and split alone are averaged: a cell is their mean, with the standard
  deviation where there are several.

  Args:
    records: Records of one experiment.
    title: Title of the table.
    detectors: The detectors that have a row; None takes all.
  """
  if len({record.experiment for record in records}) == 1:
    records = [dataclasses.replace(record, experiment="") for record in records]
  if detectors is not None:
    records = [r for r in records if r.detector is None or r.detector in detectors]
  metrics = ("tnr_at_tpr", "auroc")
  return overview([("", records)], metrics=metrics, title=title, names="method", counted=False)


def benchmark_tables(
  records: Sequence[Record], *, near: Sequence[str], refused: Sequence[str], title: str
) -> Iterator[Table]:
  """Tabulate detectors in percent, the best mean AUROC first: by groups of sets, and set by set.

  Args:
    records: Records of one network, each detector's ``relative_time`` among them.
    near: Unknown sets that are near to the known one; the others are far.
    refused: Detectors that the network cannot have; each has a row of dashes.
    title: What the tables' titles begin with.
  """
  times = {r.detector: r.value for r in records if r.detector and r.metric == "relative_time"}
  values: dict[tuple[str, str, str], Record] = {
    (r.detector, r.out_set, r.metric): r for r in records if r.detector and r.out_set
  }
  out_sets = list(dict.fromkeys(out_set for _, out_set, _ in values))

  def mean(detector: str, sets: Sequence[str], metric: str) -> float:
    return statistics.fmean(values[detector, out_set, metric].value for out_set in sets)

  def shown(detector: str, sets: Sequence[str], metric: str) -> str:
    tuned_on_test = any(values[detector, each, metric].tuned_on == each for each in sets)
    return mean_text(mean(detector, sets, metric), factor=100) + "†" * tuned_on_test

  detectors = sorted(times, key=lambda name: -mean(name, out_sets, "auroc"))

  def tabulate(heading: str, columns: Sequence[str], rows: Mapping[str, list[str]]) -> Table:
    rows = {**rows, **dict.fromkeys(refused, ["–"] * len(columns))}
    return Table(
      title=f"{title}: {heading}",
      columns=[Column("detector"), *map(Column, columns)],
      rows=[[DETECTORS.label(detector), *cells] for detector, cells in rows.items()],
    )

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
  notes = ["time: of forward pass and score together, over the forward pass alone"]
  if any(record.tuned_on == record.out_set for record in values.values()):
    notes.append("†: options chosen on this very set")
  for detector, record in {r.detector: r for r in values.values() if r.tuned_on}.items():
    chosen = ", ".join(f"{name} {_option(value)}" for name, value in record.options.items())
    notes.append(f"{DETECTORS.label(detector or '')}: {chosen}; chosen on {record.tuned_on}")
  yield dataclasses.replace(tabulate("AUROC of each set", out_sets, rows), notes=notes)


def programs_table(programs: Sequence[Program], *, title: str) -> Table:
  """Tabulate what compiled programs, one or more, need of one device."""
  columns = [*(f"{name}, MB" for name in programs[0].memory), "GFLOP a step", "compiled in, s"]
  rows = []
  for program in programs:
    name = f"{program.name}, {program.steps} steps" if program.steps > 1 else program.name
    sizes = [f"{size / 1e6:,.1f}" for size in program.memory.values()]
    rows.append([name, *sizes, f"{program.flops / 1e9:,.2f}", f"{program.seconds:.0f}"])
  header = [Column("program, on one device"), *map(Column, columns)]
  return Table(title=title, columns=header, rows=rows)


def _option(value: float | Sequence[float]) -> str:
  if isinstance(value, Sequence):
    return f"[{', '.join(map(_option, value))}]"
  return f"{value:.4g}"
