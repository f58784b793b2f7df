"""Write the tables of README and docs from the committed records.

    python -m experiments.tables

A table stands between two comments that name it; what is between them is replaced.
"""

import re
from collections.abc import Callable
from pathlib import Path

from isomax_jax.evaluation import Record, Summary, read_records, summarize
from isomax_jax.evaluation.records import method_name

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"


def quickstart_table(records: list[Record]) -> str:
  """Tabulate the quickstart: mean ± standard deviation in percent over splits and seeds."""
  accuracies = summarize([r for r in records if r.metric == "accuracy"], by=["head"])
  cells = summarize(
    [r for r in records if r.detector], by=["head", "detector", "unknown", "metric"]
  )
  unknowns = {"mnist_5k, other classes": "unseen digits", "letters": "letters", "photos": "photos"}
  metrics = {"tnr_at_tpr": "TNR@TPR95", "auroc": "AUROC"}
  titles = [f"{name}: {metric}" for name in unknowns.values() for metric in metrics.values()]
  lines = [_row("method", "accuracy", *titles), _row(*["---"] * (2 + len(titles)))]
  for head in ("softmax", "isomax"):
    for detector in ("maximum_probability", "entropic_score"):
      numbers = [cells[head, detector, unknown, m] for unknown in unknowns for m in metrics]
      lines.append(
        _row(method_name(head, detector), _percent(accuracies[head,]), *map(_percent, numbers))
      )
  return "\n".join([*lines, "", _pairs(records)])


def _pairs(records: list[Record]) -> str:
  """Say how often IsoMax+ES beat SoftMax+MPS of the same split and seed."""
  values = {
    (r.head, r.unknown, r.in_set, r.seed): r.value
    for r in records
    if r.metric == "tnr_at_tpr"
    and (r.head, r.detector) in (("softmax", "maximum_probability"), ("isomax", "entropic_score"))
  }
  counts = []
  for unknown, name in (
    ("mnist_5k, other classes", "unseen digits"), ("letters", "letters"), ("photos", "photos")
  ):  # fmt: skip
    pairs = [
      (value, values["softmax", unknown, *run])
      for (head, out, *run), value in values.items()
      if (head, out) == ("isomax", unknown)
    ]
    better = sum(isomax > softmax for isomax, softmax in pairs)
    counts.append(f"{better} of {len(pairs)} ({name})")
  return (
    f"IsoMax+ES rejects more than SoftMax+MPS of the same split and seed in {', '.join(counts)}."
  )


def _percent(summary: Summary) -> str:
  return f"{100 * summary.mean:.1f} ± {100 * summary.std:.1f}"


def _row(*cells: str) -> str:
  return f"| {' | '.join(cells)} |"


# From a file and the name of a table in it to the records and the function that writes it.
TABLES: dict[tuple[str, str], tuple[str, Callable[[list[Record]], str]]] = {
  ("README.md", "quickstart"): ("quickstart.jsonl", quickstart_table),
}


def render(text: str, name: str, table: str) -> str:
  """Put a table between its comments.

  Raises:
    ValueError: If the text has no such comments.
  """
  pattern = rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)"
  replaced, count = re.subn(pattern, lambda m: m[1] + table + m[2], text, flags=re.DOTALL)
  if count != 1:
    raise ValueError(f"the comments of table {name!r} must stand once in the text, got {count}")
  return replaced


def main() -> None:
  """Rewrite every table."""
  for (file, name), (records, write) in TABLES.items():
    path = ROOT / file
    table = write(read_records(RESULTS / records))
    path.write_text(render(path.read_text(), name, table))


if __name__ == "__main__":
  main()
