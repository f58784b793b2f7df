"""Tables for the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from isomax_jax.evaluation.records import (
  DISPLAY_NAMES,
  Record,
  Summary,
  method_name,
  summarize,
)

_METRICS = ("tnr_at_tpr", "auroc")


def console() -> Console:
  """A console that doesn't fold tables where the output is no terminal."""
  console = Console()
  return console if console.is_terminal else Console(width=160)


def results_table(records: Sequence[Record], *, title: str, detectors: Sequence[str]) -> Table:
  """Tabulate accuracy and detection in percent: a row a head and detector, columns a set.

  Args:
    records: Records; those that differ in seed and split alone are averaged.
    title: The table's title.
    detectors: Detectors to show.

  Returns:
    The table; each cell is a mean, with its standard deviation where there are several values.
  """
  accuracies = summarize((r for r in records if r.metric == "accuracy"), by=["head"])
  cells = summarize(
    (r for r in records if r.metric in _METRICS), by=["head", "detector", "unknown", "metric"]
  )
  unknowns = list(dict.fromkeys(unknown for _, _, unknown, _ in cells))
  table = Table(title=title, title_justify="left")
  table.add_column("method")
  table.add_column("accuracy", justify="right")
  for unknown in unknowns:
    for metric in _METRICS:
      table.add_column(f"{unknown}\n{DISPLAY_NAMES[metric]}", justify="right")
  for (head,), accuracy in accuracies.items():
    for detector in detectors:
      numbers = [_percent(cells[head, detector, u, m]) for u in unknowns for m in _METRICS]
      table.add_row(method_name(head, detector), _percent(accuracy), *numbers)
  return table


def _percent(summary: Summary) -> str:
  if summary.n == 1:
    return f"{100 * summary.mean:.1f}"
  return f"{100 * summary.mean:.1f} ± {100 * summary.std:.1f}"
