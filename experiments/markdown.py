"""Tables in Markdown: of methods beside each other, and of the paper's numbers beside ours."""

import statistics
from collections.abc import Sequence

from experiments.cells import PLAIN, Paper, name_of
from experiments.cells import method as name_method
from experiments.runner import FLOAT32_MPS
from isomax_jax.evaluation import Record, Summary, summarize
from isomax_jax.evaluation.records import DISPLAY_NAMES, method_name

METRICS = ("tnr_at_tpr", "auroc")
METHODS = tuple(
  (head, detector)
  for head in ("softmax", "isomax")
  for detector in ("maximum_probability", "entropic_score")
)
_SOFTMAX_MPS = "softmax+maximum_probability"


def methods_table(records: Sequence[Record], unknowns: Sequence[str]) -> str:
  """Tabulate methods: mean ± standard deviation in percent, a row a method, two columns a set."""
  accuracies = summarize([r for r in records if r.metric == "accuracy"], by=["head"])
  cells = summarize(
    [r for r in records if r.detector], by=["head", "detector", "unknown", "metric"]
  )
  titles = [f"{name_of(unknown)}: {DISPLAY_NAMES[m]}" for unknown in unknowns for m in METRICS]
  lines = [row("method", "accuracy", *titles), row(*["---"] * (2 + len(titles)))]
  for head, detector in METHODS:
    numbers = [cells.get((head, detector, unknown, m)) for unknown in unknowns for m in METRICS]
    lines.append(
      row(method_name(head, detector), *map(percent, [accuracies.get((head,)), *numbers]))
    )
  notes = [
    f"{name_of(unknown)} {DISPLAY_NAMES[m]} {percent(plain)}"
    for unknown in unknowns
    for m in METRICS
    if (plain := cells.get(("softmax", FLOAT32_MPS, unknown, m)))
    and _differs(plain, cells["softmax", "maximum_probability", unknown, m])
  ]
  return "\n".join([*lines, *_float32_note(notes)])


def _float32_note(notes: Sequence[str]) -> list[str]:
  """Say what the maximum probability gives with the ties at 1 that it has in float32."""
  return ["", f"SoftMax+MPS in float32, with its ties at 1: {', '.join(notes)}."] if notes else []


def _differs(a: Summary, b: Summary) -> bool:
  return abs(a.mean - b.mean) > 0.0005


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
      (value, values["softmax", unknown, *run])
      for (head, out, *run), value in values.items()
      if (head, out) == ("isomax", unknown) and ("softmax", unknown, *run) in values
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
  ours = {
    (*place, name_method(head, detector, objective)): summary
    for (*place, head, detector, objective), summary in summarize(
      [r for r in records if r.metric == metric], by=by
    ).items()
  }
  places = dict.fromkeys(place[:3] for place in paper)
  places |= dict.fromkeys(place[:3] for place in ours)
  detected = any(out_set for *_, out_set in places)
  titles = ["network", "known", *(["unknown"] if detected else [])]
  titles += [title for m in methods for title in (f"{_method(m)}, paper", "ours")]
  lines = [row(*titles), row(*["---"] * len(titles))]
  notes = []
  for place in places:
    cells = [name_of(part) for part in place if part]
    for method in methods:
      number, summary = paper.get((*place, method, metric)), ours.get((*place, method))
      cells += ["–" if number is None else f"{number:.1f}", _compared(summary, number)]
      plain = ours.get((*place, f"softmax+{FLOAT32_MPS}"))
      if method == _SOFTMAX_MPS and summary and plain and _differs(plain, summary):
        notes.append(f"{' / '.join(map(name_of, place))} {percent(plain)}")
    lines.append(row(*cells))
  return "\n".join([*lines, *_float32_note(notes)])


def spread(values: Sequence[float], *, sign: str = "") -> str:
  """Write mean ± standard error of the mean."""
  error = statistics.stdev(values) / len(values) ** 0.5
  return f"{statistics.fmean(values):{sign}.2f} ± {error:.2f}"


def _compared(summary: Summary | None, number: float | None) -> str:
  if summary is None:
    return "not run"
  text = f"{percent(summary)} ({summary.n})"
  return text if number is None else f"{text}, {100 * summary.mean - number:+.1f}"


def percent(summary: Summary | None) -> str:
  """Write mean ± standard deviation in percent."""
  if summary is None:
    return "not run"
  deviation = f" ± {100 * summary.std:.1f}" if summary.n > 1 else ""
  return f"{100 * summary.mean:.1f}{deviation}"


def _method(method: str) -> str:
  network, _, detector = method.partition("+")
  head, _, objective = network.partition("-")
  return method_name(head, detector, objective or PLAIN) if detector else name_of(network)


def row(*cells: str) -> str:
  """Write a row of a table."""
  return f"| {' | '.join(cells)} |"
