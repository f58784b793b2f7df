"""Records of measured numbers, kept as JSON lines, and their means over seeds and splits."""

import collections
import dataclasses
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isomax_jax._files import append_json_lines, naming, read_json_lines, write_atomically
from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.training import OBJECTIVES

METRIC_LABELS = {
  "negative_log_likelihood": "NLL",
  "expected_calibration_error": "ECE",
  "calibrated_negative_log_likelihood": "calibrated NLL",
  "calibrated_expected_calibration_error": "calibrated ECE",
  "auroc": "AUROC",
  "tnr_at_tpr": "TNR@TPR95",
  "fpr_at_tpr": "FPR@TPR95",
  "detection_accuracy": "DTACC",
  "aupr_in": "AUPR in",
  "aupr_out": "AUPR out",
}
"""Short names of metrics for tables and figures; one that is not here is shown as it is."""

DETECTION = ("auroc", "tnr_at_tpr", "fpr_at_tpr", "detection_accuracy", "aupr_in", "aupr_out")
"""The metrics of :func:`isomax_jax.metrics.detection_metrics` in the order of tables."""

# The standard deviation of numbers below it is finite.
_TOO_LARGE = 1e150


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """One measured number, and what it was measured of and how.

  Attributes:
    experiment: Name of the protocol; a shortened run has a name of its own.
    model: Network, such as ``"small_cnn"``.
    head: Last layer and loss, such as ``"isomax"``.
    entropic_scale: The paper's :math:`E_s` in training.
    objective: Training objective, such as ``"acet"``.
    outliers: Reference of the set of training outliers; None where there was none.
    in_set: Reference of the known set, such as ``"mnist_5k:0-7"``.
    out_set: Reference of the unknown set; None for a metric of the known set alone.
    detector: Name of the score; None for a metric without one, such as accuracy.
    options: The detector's options where they were chosen and are no defaults.
    tuned_on: What they were chosen on; where that is the out-set itself, the number flatters.
    seed: Seed of the run.
    epochs: Epochs of training.
    checkpoint: Rule that chose the checkpoint, such as ``"last"``.
    metric: Name of the metric's function, such as ``"auroc"``.
    value: The number; rates are fractions of 1.
    n_in: Number of known images that it was measured on.
    n_out: Number of unknown images.
    device: The device in words.
    versions: Version of each library.
    git_commit: Commit of the code; None where it is not known.
    wall_time: Seconds that the measurement took.
    time: When it was made, ISO 8601.

  Raises:
    TypeError: If a field has another type.
    ValueError: If a number is not finite.
  """

  experiment: str
  model: str
  head: str
  entropic_scale: float
  objective: str = "classification"
  outliers: str | None = None
  in_set: str
  out_set: str | None = None
  detector: str | None = None
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
  tuned_on: str | None = None
  seed: int
  epochs: float
  checkpoint: str = "last"
  metric: str
  value: float
  n_in: int
  n_out: int = 0
  device: str
  versions: Mapping[str, str] = dataclasses.field(hash=False)
  git_commit: str | None = None
  wall_time: float
  time: str

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      expected = _FIELD_TYPES[field.type]
      if not isinstance(value, expected) or isinstance(value, bool):
        names = " or ".join("None" if t is type(None) else t.__name__ for t in expected)
        raise TypeError(f"{field.name} must be {names}, got {type(value).__name__}")
      if isinstance(value, float) and not abs(value) < _TOO_LARGE:
        raise ValueError(f"{field.name} must be finite, got {value}")

  @property
  def known(self) -> str:
    """Name of the known set without its classes, the same in every split."""
    return self.in_set.partition(":")[0]

  @property
  def unknown(self) -> str | None:
    """Name of the unknown set, the same in every split; see `unknown_name`."""
    return None if self.out_set is None else unknown_name(self.in_set, self.out_set)


_FIELD_TYPES: dict[Any, tuple[type, ...]] = {
  str: (str,),
  int: (int,),
  float: (float, int),
  str | None: (str, type(None)),
  Mapping[str, str]: (Mapping,),
  Mapping[str, Any]: (Mapping,),
}


def unknown_name(in_set: str, out_set: str) -> str:
  """Name an out-set, alike in all splits: ``"NAME, other classes"`` if it is of the known set."""
  name = in_set.partition(":")[0]
  return f"{name}, other classes" if out_set.startswith(f"{name}:") else out_set


def network_name(head: str, objective: str = "classification") -> str:
  """Name a head and its objective for tables and figures: ``"IsoMax"``, ``"SoftMax (ACET)"``."""
  name = HEADS.label(head)
  return name if objective == "classification" else f"{name} ({OBJECTIVES.label(objective)})"


def method_name(head: str, detector: str, objective: str = "classification") -> str:
  """Name a head, its objective and a detector for tables and figures: ``"IsoMax+ES"``."""
  return f"{network_name(head, objective)}+{DETECTORS.label(detector)}"


def write_records(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
  """Write records into a file, in place of what it held; no other process sees a part of them.

  Args:
    path: The file; made, with its parent, where there is none.
    records: What to write.

  Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   path = pathlib.Path(directory, "records.jsonl")
    ...   write_records(path, [])
    ...   read_records(path)
    []
  """
  lines = [json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n" for record in records]
  Path(path).parent.mkdir(parents=True, exist_ok=True)
  write_atomically(Path(path), "".join(lines).encode())


def append_records(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
  """Append records to a file, one JSON line each, in one write.

  A last line that a killed process left unfinished is cut first. Several processes may append to
  one file, which is locked meanwhile.

  Args:
    path: The file; made, with its parent, where there is none.
    records: What to append.

  Example:
    >>> import pathlib, tempfile
    >>> record = Record(
    ...     experiment="demo", model="small_cnn", head="isomax", entropic_scale=10.0,
    ...     in_set="mnist_5k", seed=0, epochs=200, metric="accuracy", value=0.976, n_in=3500,
    ...     device="cpu", versions={"jax": "0.10.2"}, wall_time=1.5, time="2026-01-31T12:00:00Z")
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   path = pathlib.Path(directory, "records.jsonl")
    ...   append_records(path, [record])
    ...   read_records(path) == [record]
    True
  """
  append_json_lines(Path(path), map(dataclasses.asdict, records))


def read_records(path: str | os.PathLike[str]) -> list[Record]:
  r"""Read the records of a file in their order.

  A last line cut short, which a killed process leaves, is not a record and is skipped.

  Args:
    path: The file.

  Returns:
    The records.

  Raises:
    ValueError: If a line is no record; the message names file, line number and what is wrong.

  Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   path = pathlib.Path(directory, "records.jsonl")
    ...   _ = path.write_text('{"metric": "auroc"}\n')
    ...   read_records(path)
    Traceback (most recent call last):
    ValueError: ...records.jsonl, line 1: lacks experiment, model, head, entropic_scale, ...
  """
  fields = dataclasses.fields(Record)
  required = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
  known = {field.name for field in fields}
  records = []
  for number, values in enumerate(read_json_lines(Path(path)), start=1):
    lacking = [name for name in required if name not in values]
    unknown = [name for name in values if name not in known]
    with naming(f"{path}, line {number}"):
      if lacking or unknown:
        raise ValueError(f"{'lacks' if lacking else 'unknown'} {', '.join(lacking or unknown)}")
      records.append(Record(**values))
  return records


class Summary(NamedTuple):
  """Mean, sample standard deviation (NaN for a single value) and number of values."""

  mean: float
  std: float
  n: int

  def text(self, *, factor: float = 100, digits: int = 1) -> str:
    """Return mean ± standard deviation, by default in percent; of a single value, the mean."""
    mean, std = (f"{factor * value:.{digits}f}" for value in (self.mean, self.std))
    return f"{mean} ± {std}" if self.n > 1 else mean


# Fields that distinguish two measurements; the others say how one came about.
_CELL = (
  "experiment", "model", "head", "entropic_scale", "objective", "outliers", "in_set", "out_set",
  "detector", "tuned_on", "seed", "epochs", "checkpoint", "metric",
)  # fmt: skip
# Of these, what numbers with a common mean share: all but seed and split.
_SPLITS = {"in_set": "known", "out_set": "unknown"}
_CONSTANT = tuple(_SPLITS.get(name, name) for name in _CELL if name != "seed")


def summarize(records: Iterable[Record], *, by: Sequence[str]) -> dict[tuple[Any, ...], Summary]:
  """Average records over seeds and splits.

  What was measured again (the same metric of the same network, sets and detector in the same
  experiment) counts once, with its last value.

  Args:
    records: The records.
    by: Fields of `Record` to group by, or its properties ``known`` and ``unknown``.

  Returns:
    From the values of ``by`` to the `Summary`, in the order of the records.

  Raises:
    ValueError: If ``by`` names no field, or if records in a group differ in more than seed and
      split: numbers of 200 and of 10 epochs have no common mean.

  Example:
    >>> shared = dict(
    ...     experiment="demo", model="small_cnn", head="isomax", entropic_scale=10.0, epochs=200,
    ...     metric="accuracy", n_in=3500, device="cpu", versions={}, wall_time=1.5, time="")
    >>> records = [
    ...     Record(in_set="mnist_5k:0-7", seed=0, value=0.97, **shared),
    ...     Record(in_set="mnist_5k:2-9", seed=0, value=0.99, **shared)]
    >>> summarize(records, by=["head", "metric"])["isomax", "accuracy"].text()
    '98.0 ± 1.4'
  """
  names = [*(field.name for field in dataclasses.fields(Record)), "known", "unknown"]
  for name in by:
    if name not in names:
      raise ValueError(f"by must name fields of a record, got {name!r}; known: {', '.join(names)}")
  cells = {tuple(getattr(r, name) for name in _CELL): r for r in records}
  groups = collections.defaultdict(list)
  for record in cells.values():
    groups[tuple(getattr(record, name) for name in by)].append(record)
  summaries = {}
  for key, group in groups.items():
    for name in _CONSTANT:
      different = sorted({str(getattr(record, name)) for record in group})
      if len(different) > 1:
        raise ValueError(f"records of {key} differ in {name}: {', '.join(different)}; add it to by")
    values = [record.value for record in group]
    std = statistics.stdev(values) if len(values) > 1 else math.nan
    summaries[key] = Summary(statistics.fmean(values), std, len(values))
  return summaries
