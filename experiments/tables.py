"""Write the tables of README and docs, and the figures, from records.

    python -m experiments.tables

A table stands between two comments that name it; what is between them is replaced.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import tyro
from matplotlib.figure import Figure

from experiments import (
  calibration,
  figures,
  reliability,
  score_histograms,
  short_cifar,
  small_cifar,
  soak,
  table1,
  table2,
  table3,
)
from experiments.benchmarks._report import read_results
from experiments.cells import Cell, name_of
from experiments.markdown import (
  METRICS,
  detectors_table,
  markdown,
  methods_table,
  metric_columns,
  paper_table,
  spread,
  times_table,
  wins,
)
from experiments.performance import performance_table
from experiments.score_histograms import ScoreHistogram
from isomax_jax.heads import HEADS
from isomax_jax.reporting import Record, read_records, summarize
from isomax_jax.reporting.figures import save_figure
from isomax_jax.reporting.records import method_name
from isomax_jax.reporting.tables import Column, Table, cell

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
_QUICKSTART_SETS = ("mnist_5k, other classes", "letters", "photos")


def quickstart_table(records: Sequence[Record]) -> str:
  """Tabulate the quickstart, and how often IsoMax+ES beat SoftMax+MPS of its split and seed."""
  table = methods_table(records, _QUICKSTART_SETS)
  return f"{table}\n\n{wins(records, _QUICKSTART_SETS)}"


def front_caption(histograms: Sequence[ScoreHistogram]) -> str:
  """Say which networks the figure of README's front is of."""
  of = histograms[0]
  splits, count = len(of.in_sets), len(of.in_sets) * len(of.seeds)
  seeds = f"{len(of.seeds)} seeds" if len(of.seeds) > 1 else f"seed {of.seeds[0]}"
  return (
    "Test images by the entropic score of the network that sees them, beside its threshold, which "
    f"accepts 95 %\nof the known ones: {count} small networks of each kind, of 72.5 k parameters "
    f"({splits} splits of the digits, {seeds}).\nUnseen digits, letters and photos weigh alike. "
    "SoftMax and IsoMax each have a logarithmic axis of their own."
  )


def small_cifar_table(records: Sequence[Record]) -> str:
  """Tabulate what the small study's last checkpoints say of photographs."""
  records = _last(records)
  photographs = small_cifar.OUT_SETS[:3]
  seeds = {head: {r.seed for r in records if r.head == head} for head in small_cifar.HEADS}
  counts = " and ".join(f"{len(of)} {HEADS.label(head)}" for head, of in seeds.items())
  table = methods_table(records, photographs)
  return f"{table}\n\nMeans over {counts} networks. {wins(records, photographs)}"


def small_cifar_noise_table(records: Sequence[Record]) -> str:
  """Tabulate what the small study's last checkpoints say of noise."""
  records, noises = _last(records), small_cifar.OUT_SETS[3:]
  return f"{methods_table(records, noises)}\n\n{wins(records, noises)}"


def small_cifar_factors_table(records: Sequence[Record]) -> str:
  """Tabulate the AUROC of the entropic score of multiples of an IsoMax network's logits."""
  cells = summarize(
    [r for r in _last(records) if (r.head, r.metric) == ("isomax", "auroc")],
    by=["detector", "out_set"],
  )
  scores = {
    f"ES of {factor:g} x logits": "entropic_score" if factor == 1 else name
    for factor, name in small_cifar.NAME_OF_FACTOR.items()
  }
  scores["MPS"] = "maximum_probability"
  rows = [
    [name_of(out_set), *(cell(cells.get((score, out_set))) for score in scores.values())]
    for out_set in small_cifar.OUT_SETS[:3]
  ]
  return markdown(Table(columns=[Column("unknown"), *map(Column, scores)], rows=rows))


def short_cifar_table(records: Sequence[Record], *, model: str, in_set: str) -> str:
  """Tabulate a network that knows a set: a table for every number of epochs, never mixed."""
  records = [r for r in _last(records) if (r.model, r.in_set) == (model, in_set)]
  epochs = sorted({r.epochs for r in records}) or [short_cifar.EPOCHS]
  return "\n\n".join(
    _short_cifar_table([r for r in records if r.epochs == e], model, in_set, e) for e in epochs
  )


def _short_cifar_table(records: Sequence[Record], model: str, in_set: str, epochs: float) -> str:
  unknowns = short_cifar.OUT_SETS[in_set]
  methods = [(head, name) for head in short_cifar.HEADS for name in short_cifar.DETECTORS]
  whole = short_cifar.get_config(Cell(model, in_set, "softmax")).optim.epochs
  title = f"{name_of(model)}, {name_of(in_set)} known, {epochs:g} of the paper's {whole} epochs"
  title = f"**{title}.** {_networks(records)}"
  return methods_table(records, unknowns, methods, title=title)


def _networks(records: Sequence[Record]) -> str:
  """Say of how many networks numbers are means, which are of fewer, and on what devices."""
  if not records:
    return "Not run."
  seeds = {
    head: {r.seed for r in records if r.head == head}
    for head in dict.fromkeys(r.head for r in records)
  }
  counts = " and ".join(f"{len(of)} {name_of(head)}" for head, of in seeds.items())
  means = summarize(
    [r for r in records if r.detector in short_cifar.DETECTORS],
    by=["head", "detector", "unknown", "metric"],
  )
  fewer = dict.fromkeys(
    f"{method_name(head, detector)} on {name_of(unknown)} of {summary.n}"
    for (head, detector, unknown, _), summary in means.items()
    if summary.n < len(seeds[head])
  )
  note = f" Of fewer: {', '.join(fewer)}." if fewer else ""
  devices = ", ".join(dict.fromkeys(r.device for r in records))
  return f"Means over {counts} networks, measured on {devices}.{note}"


def sequential_log_table(records: Sequence[Record]) -> str:
  """Tabulate both ways to compute the loss, and the mean of their paired differences."""
  infinite = {
    name: sum(r.value for r in records if (r.experiment, r.metric) == (name, "infinite_losses"))
    for name in ("fused_log", "sequential_log")
  }
  columns = [("accuracy", None)]
  columns += [(metric, unknown) for unknown in _QUICKSTART_SETS for metric in METRICS]
  values = {
    name: [
      {
        (r.in_set, r.seed): 100 * r.value
        for r in records
        if (r.experiment, r.metric, r.unknown) == (name, metric, unknown)
        and r.detector in (None, "entropic_score")
      }
      for metric, unknown in columns
    ]
    for name in infinite
  }
  names = {"fused_log": "at once", "sequential_log": "one after the other"}
  rows = [
    [names[name], *(spread(list(of.values())) for of in found), f"{infinite[name]:.0f}"]
    for name, found in values.items()
  ]
  differences = [
    spread([after[run] - at_once[run] for run in at_once if run in after], signed=True)
    for at_once, after in zip(values["fused_log"], values["sequential_log"], strict=True)
  ]
  rows.append(["difference, pair by pair", *differences, ""])
  header = [
    *(Column("softmax and logarithm"), Column("accuracy")),
    *(*metric_columns(_QUICKSTART_SETS), Column("infinite losses")),
  ]
  return markdown(Table(columns=header, rows=rows))


def calibration_table(records: Sequence[Record]) -> str:
  """Tabulate each head's temperature, and what it does to the probabilities of test images."""
  columns = [
    ("temperature", "temperature", 1, 2),
    ("accuracy, %", "accuracy", 100, 2),
    ("NLL, nats", "negative_log_likelihood", 1, 3),
    ("calibrated", "calibrated_negative_log_likelihood", 1, 3),
    ("ECE, %", "expected_calibration_error", 100, 2),
    ("calibrated", "calibrated_expected_calibration_error", 100, 2),
  ]
  rows = []
  for head in ("softmax", "isomax"):
    values = [
      spread(
        [factor * r.value for r in records if (r.head, r.metric) == (head, metric)], digits=digits
      )
      for _, metric, factor, digits in columns
    ]
    rows.append([HEADS.label(head), *values])
  return markdown(
    Table(columns=[Column("head"), *(Column(name) for name, *_ in columns)], rows=rows)
  )


def calibration_rankings_table(records: Sequence[Record]) -> str:
  """Tabulate AUROC at a temperature of 1, and how far the fitted one moves it, pair by pair."""
  columns = [Column("method")]
  for unknown in _QUICKSTART_SETS:
    columns += [Column("AUROC, T = 1", group=name_of(unknown)), Column("fitted T")]
  rows = []
  for head in ("softmax", "isomax"):
    for detector in calibration.SCORES:
      cells = []
      for unknown in _QUICKSTART_SETS:
        plain, calibrated = (
          {
            (r.in_set, r.seed): 100 * r.value
            for r in records
            if (r.head, r.detector, r.unknown, r.metric) == (head, name, unknown, "auroc")
          }
          for name in (detector, calibration.calibrated_name(detector))
        )
        moved = [calibrated[run] - value for run, value in plain.items()]
        cells += [spread(list(plain.values())), spread(moved, signed=True)]
      rows.append([method_name(head, detector), *cells])
  return markdown(Table(columns=columns, rows=rows))


def table_writer(module: ModuleType, metric: str) -> Callable[[Sequence[Record]], str]:
  """Make the function that writes one metric of a table of the paper."""

  def write(records: Sequence[Record]) -> str:
    methods = dict.fromkeys(method for *_, method, _ in module.PAPER)
    return paper_table(module.PAPER, list(methods), metric, records)

  return write


def _last(records: Sequence[Record]) -> list[Record]:
  """Keep what was measured at the end, of networks with the entropic scale of their head."""
  return [
    r
    for r in records
    if r.checkpoint == "last" and (r.head, r.entropic_scale) in (("softmax", 1), ("isomax", 10))
  ]


# What docs/performance.md shows; of the two forms of a distance their ratio alone.
BENCHMARKS: Mapping[str, Mapping[str, Any]] = {
  "training": {},
  "heads": {"shown": lambda result: result.unit == "x" or " a dispatch" not in result.case},
  "scoring": {},
  "input": {},
  "metrics": {"accelerated": False},
  "knn": {"accelerated": False},
  "mahalanobis": {"accelerated": False},
}
# From a file and the name of a table in it to the records and the function that writes it.
TABLES: Mapping[tuple[str, str], tuple[str, Callable[[Sequence[Any]], str]]] = {
  ("README.md", "front"): ("quickstart_scores.jsonl", front_caption),
  ("README.md", "quickstart"): ("quickstart.jsonl", quickstart_table),
  ("README.md", "small_cifar"): ("small_cifar.jsonl", small_cifar_table),
  ("docs/method.md", "sequential_log"): ("sequential_log.jsonl", sequential_log_table),
  ("docs/detectors.md", "times"): ("detector_times.jsonl", times_table),
  ("docs/performance.md", "detectors"): ("detector_times.jsonl", times_table),
  **{
    ("docs/performance.md", benchmark): (
      "performance.jsonl",
      partial(performance_table, benchmark=benchmark, **options),
    )
    for benchmark, options in BENCHMARKS.items()
  },
  ("docs/reliability.md", "faults"): ("reliability.jsonl", reliability.faults_table),
  **{
    ("docs/detectors.md", f"{name} {head}"): (
      f"{name}_detectors.jsonl",
      partial(detectors_table, head=head, unknowns=unknowns),
    )
    for name, unknowns in (("digits", _QUICKSTART_SETS), ("small", small_cifar.OUT_SETS))
    for head in ("softmax", "isomax")
  },
  ("docs/method.md", "calibration"): ("calibration.jsonl", calibration_table),
  ("docs/method.md", "calibration auroc"): ("calibration.jsonl", calibration_rankings_table),
  ("docs/results.md", "small_cifar"): ("small_cifar.jsonl", small_cifar_table),
  ("docs/results.md", "small_cifar noise"): ("small_cifar.jsonl", small_cifar_noise_table),
  ("docs/results.md", "small_cifar factors"): ("small_cifar.jsonl", small_cifar_factors_table),
  **{
    ("docs/results.md", f"short_cifar {model} {in_set}"): (
      "short_cifar.jsonl",
      partial(short_cifar_table, model=model, in_set=in_set),
    )
    for model in short_cifar.MODELS
    for in_set in short_cifar.OUT_SETS
  },
  **{
    ("docs/results.md", f"table1 {metric}"): ("table1.jsonl", table_writer(table1, metric))
    for metric in ("tnr_at_tpr", "auroc", "detection_accuracy")
  },
  **{
    ("docs/results.md", f"table2 {metric}"): ("table2.jsonl", table_writer(table2, metric))
    for metric in ("auroc", "detection_accuracy")
  },
  ("docs/results.md", "table3"): ("table3.jsonl", table_writer(table3, "accuracy")),
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


_READERS = {
  "performance.jsonl": read_results,
  "quickstart_scores.jsonl": score_histograms.read_histograms,
  "reliability.jsonl": reliability.read_tries,
  "soak.jsonl": soak.read_samples,
}


def load(path: Path) -> Sequence[Any]:
  """Read records, or what else a file of results holds; one that is not there has none."""
  return _READERS.get(path.name, read_records)(path) if path.exists() else []


# From a file to the records and the function that draws it; nothing is drawn of no records.
FIGURES: Mapping[str, tuple[str, Callable[[Sequence[Any]], Figure]]] = {
  "docs/figures/front.png": ("quickstart_scores.jsonl", figures.known_and_unknown),
  "docs/figures/figure1.png": ("figure1.jsonl", figures.entropic_scales),
  "docs/figures/small_figure1.png": ("small_cifar.jsonl", figures.entropic_scales),
  "docs/figures/small_curves.png": ("small_cifar.jsonl", figures.score_curves),
  "docs/figures/soak.png": ("soak.jsonl", figures.soak),
}


def main(results: Path = RESULTS) -> None:
  """Rewrite the tables and figures whose records are there.

  Args:
    results: Where records are: those of this repository, or the --workdir of experiments.
  """
  for (file, name), (records, write) in TABLES.items():
    if results == RESULTS or (results / records).exists():
      path = ROOT / file
      path.write_text(render(path.read_text(), name, write(load(results / records))))
  for file, (records, draw) in FIGURES.items():
    if (results / records).exists():
      save_figure(draw(load(results / records)), ROOT / file)


if __name__ == "__main__":
  tyro.cli(main)
