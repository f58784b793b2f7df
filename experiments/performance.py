"""The tables of docs/performance.md: what benchmarks measured, a column a device."""

from collections.abc import Callable, Sequence

from experiments.benchmarks._report import Result, column, is_nothing
from experiments.markdown import markdown
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.reporting.tables import Column, Table

_NOT_MEASURED = "not measured"


def performance_table(
  results: Sequence[Result],
  *,
  benchmark: str,
  accelerated: bool = True,
  shown: Callable[[Result], bool] = lambda result: True,
) -> str:
  """Tabulate what one benchmark measured: a row a figure, a column a device and its JAX.

  Args:
    results: Results of all benchmarks.
    benchmark: The benchmark's name.
    accelerated: Whether it measures an accelerator where there is one. There is a column that says
      so where none has been measured.
    shown: Function that tells which results are shown.
  """
  results = [r for r in results if r.benchmark == benchmark and shown(r)]
  if not results:
    return "Not measured yet."
  # Accelerators first, and of one device the newest JAX.
  order = {
    column(r): (r.platform == "cpu", r.device, [-int(n) for n in _jax(r).split(".") if n.isdigit()])
    for r in results
  }
  columns = sorted(order, key=lambda name: order[name])
  notes = dict.fromkeys(f"{column(r)}: {_measured_with(r)}." for r in results)
  if accelerated and all(r.platform == "cpu" for r in results):
    columns.insert(0, "a GPU or TPU")
  cells = {(r.case, r.what, r.unit, column(r)): r for r in results}
  rows = []
  for case in dict.fromkeys(r.case for r in results):
    rows.append([case])
    for what, unit in dict.fromkeys((r.what, r.unit) for r in results if r.case == case):
      found = [cells.get((case, what, unit, each)) for each in columns]
      rows.append([what, *(_NOT_MEASURED if r is None else _shown(r) for r in found)])
  return markdown(Table(columns=[Column(""), *map(Column, columns)], rows=rows, notes=[*notes]))


def _jax(result: Result) -> str:
  return result.versions.get("jax", "")


def _measured_with(result: Result) -> str:
  """Say when a figure was measured, and with what."""
  versions = ", ".join(f"{name} {of}" for name, of in result.versions.items() if name != "jax")
  commit = result.git_commit[:7] if result.git_commit else "not known"
  return f"{result.time[:10]}, commit {commit}, {versions}"


def _shown(result: Result) -> str:
  """Show a figure: a time in s, ms or µs, others in their unit, and whether a target is met."""
  factor, unit = 1.0, result.unit
  if unit == "s" and result.value < 1:
    factor, unit = (1e3, "ms") if result.value >= 1e-3 else (1e6, "µs")
  value = factor * result.value
  digits = 2 if unit == "x" and value >= 0.1 else max(0, 3 - len(str(int(abs(value)))))
  text = mean_text(result.value, result.std, factor=factor, digits=digits)
  unit = "x" if unit == "x" else f" {unit}"
  text += unit
  if result.n > 1:
    text += f" (n {result.n})"
  if result.unit == "%" and is_nothing(result.value, result.std, result.n):
    text += ", not told from 0"
  if result.met is not None:
    met = "met" if result.met else "**not met**"
    text += f"; target {result.target}{unit}, {met}"
  return text
