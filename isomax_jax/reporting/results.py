"""Run directories, read and checked for figures and reports."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isomax_jax import _checks
from isomax_jax._files import naming, read_arrays, read_json, read_json_lines
from isomax_jax.evaluation.calibration import Calibration, calibration_from_json
from isomax_jax.evaluation.measure import TEST, VALIDATION
from isomax_jax.reporting.records import Record, network_name, read_records, unknown_name

_LOGGED = ("loss", "accuracy", "entropy")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)  # Arrays have no one truth to compare.
class Results:
  """Contents of a run directory; a file that is not there yet is empty or None.

  Attributes:
    path: The directory.
    config: The training configuration, nested.
    environment: Versions, device and commit.
    metrics: Lines of the training log in their order.
    decision: Detector, threshold and temperature, or None.
    scores: From ``"DETECTOR|SET"`` to scores, shape ``[images]``, float64; higher is more known.
    examples: From ``"SET|highest"`` and ``"SET|lowest"`` to images, shape
      ``[k, height, width, channels]``, uint8, and from ``"SET|highest|scores"`` to their scores.
    records: The measured numbers.
    calibration: Reliability of the test images' probabilities, without and with temperature.
  """

  path: Path
  config: Mapping[str, Any]
  environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  metrics: Sequence[Mapping[str, Any]] = ()
  decision: Mapping[str, Any] | None = None
  scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  examples: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  records: Sequence[Record] = ()
  calibration: Calibration | None = None

  @property
  def model(self) -> str:
    """Name of the network."""
    return self.config["model"]["name"]

  @property
  def head(self) -> str:
    """Name of the last layer and its loss."""
    return self.config["model"]["head"]

  @property
  def objective(self) -> str:
    """Name of the training objective."""
    return self.config.get("objective", {}).get("name", "classification")

  @property
  def seed(self) -> int:
    """Seed of the training."""
    return self.config["seed"]

  @property
  def in_set(self) -> str:
    """Reference of the known set, with its classes where only some are known."""
    return self.config["data"]["name"]

  @property
  def out_sets(self) -> tuple[str, ...]:
    """References of the unknown sets that were scored, other classes of the known set first."""
    sets = dict.fromkeys(key.partition("|")[2] for key in self.scores)
    unknown = [name for name in sets if name not in (TEST, VALIDATION)]
    return tuple(sorted(unknown, key=lambda name: self.unknown(name) == name))

  def unknown(self, out_set: str) -> str:
    """Return the name of an unknown set, the same in every split of the known one."""
    return unknown_name(self.in_set, out_set)

  def scores_of(self, detector: str | None, set_name: str) -> np.ndarray:
    """Return the scores of a set by a detector, shape ``[images]``; None is the run's own.

    Raises:
      ValueError: If the run has no such scores.
    """
    key = f"{detector or self.detector}|{set_name}"
    if key not in self.scores:
      known = ", ".join(self.scores) or "none"
      raise ValueError(f"{self.path}: no scores {key!r}; known: {known}")
    return self.scores[key]

  @property
  def detector(self) -> str:
    """Name of the decision's detector; without a decision, the entropic score."""
    return "entropic_score" if self.decision is None else self.decision["detector"]

  @property
  def split(self) -> str:
    """Known set and seed, by which runs are compared."""
    return f"{self.in_set}, seed {self.seed}"

  @property
  def title(self) -> str:
    """Head, known set and seed, for headings."""
    return f"{network_name(self.head, self.objective)}, {self.split}"


def read_results(path: str | os.PathLike[str]) -> Results:
  """Read a run directory and check its files.

  Args:
    path: The directory; only ``config.json`` has to be there.

  Returns:
    The run.

  Raises:
    ValueError: If the directory is not a run, or a file is corrupt, cut short or lacks a key;
      the message names it.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...   _ = Path(directory, "config.json").write_text(
    ...     '{"data": {"name": "mnist_5k:0-7"}, "seed": 3,'
    ...     ' "model": {"name": "small_cnn", "head": "isomax"}}')
    ...   run = read_results(directory)
    >>> run.title
    'IsoMax, mnist_5k:0-7, seed 3'
  """
  path = Path(path)
  if not path.is_dir():
    raise ValueError(f"{path}: not a run directory: there is no such directory")
  if not (path / "config.json").is_file():
    raise ValueError(f"{path}: not a run directory: config.json is missing")

  def optional(name, read, default):
    return read(path / name) if (path / name).is_file() else default

  config = _read_config(path / "config.json")
  environment = optional("environment.json", read_json, {})
  with naming(path / "environment.json"):
    _check_types(environment, {"device": str | None, "git_commit": str | None})
  return Results(
    path=path,
    config=config,
    environment=environment,
    metrics=optional("metrics.jsonl", _read_metrics, []),
    decision=optional("decision.json", read_decision, None),
    scores=optional("scores.npz", _read_scores, {}),
    examples=optional("examples.npz", _read_examples, {}),
    records=optional("records.jsonl", read_records, []),
    calibration=optional("calibration.json", _read_calibration, None),
  )


def _check_types(values: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
  """Check the types of values by their names, in which a dot leads into a nested object."""
  for names, kind in expected.items():
    value: Any = values
    for name in names.split("."):
      value = value.get(name) if isinstance(value, dict) else None
    _checks.typed(names, value, kind)


def _read_config(path: Path) -> dict[str, Any]:
  config = read_json(path)
  with naming(path):
    _check_types(config, {"data.name": str, "model.name": str, "model.head": str, "seed": int})
    # Older configs have no objective.
    _check_types({"objective": {}, **config}, {"objective": dict, "objective.name": str | None})
  return config


def _read_metrics(path: Path) -> list[dict[str, Any]]:
  lines = read_json_lines(path)
  for number, line in enumerate(lines, start=1):
    with naming(f"{path}, line {number}"):
      numbers = ["epoch", *(key for key in _LOGGED if key in line)]
      _check_types(line, {"split": str, **dict.fromkeys(numbers, float)})
      _checks.not_negative("epoch", line["epoch"])
  return lines


def read_decision(path: Path) -> dict[str, Any]:
  """Read a run's ``decision.json`` and check what it holds; an error names the file."""
  decision = read_json(path)
  with naming(path):
    _check_types(decision, {"detector": str, "threshold": float, "tpr": float})
    _check_types(decision, {"temperature": float, "examples": int, "class_names": list})
    if math.isnan(decision["threshold"]):
      raise ValueError("threshold must be a number, got NaN")
    for key in ("tpr", "temperature", "examples"):
      _checks.positive(key, decision[key])
    for name in decision["class_names"]:
      _checks.typed("class_names", name, str)
  return decision


def _read_calibration(path: Path) -> Calibration:
  values = read_json(path)
  with naming(path):
    return calibration_from_json(values)


def _read_scores(path: Path) -> dict[str, np.ndarray]:
  arrays = read_arrays(path)
  for key, array in arrays.items():
    if key.count("|") != 1:
      raise ValueError(f"{path}: expected keys 'DETECTOR|SET', got {key!r}")
    if array.ndim != 1 or array.dtype != np.float64:
      raise ValueError(
        f"{path}: {key!r} must be float64 of shape [images], got {array.dtype} {array.shape}"
      )
    if array.size == 0 or np.isnan(array).any():
      raise ValueError(f"{path}: {key!r} must hold a score or more and no NaN")
  return arrays


def _read_examples(path: Path) -> dict[str, np.ndarray]:
  arrays = read_arrays(path)
  for key, array in arrays.items():
    if key.endswith("|scores"):
      continue
    shape, dtype = array.shape, array.dtype
    if array.ndim != 4 or shape[-1] not in (1, 3) or dtype != np.uint8 or not array.size:
      raise ValueError(
        f"{path}: {key!r} must be uint8 of shape [k, height, width, 1 or 3], got {dtype} {shape}"
      )
    scores = arrays.get(f"{key}|scores")
    if scores is None or scores.shape != shape[:1] or scores.dtype.kind != "f":
      raise ValueError(f"{path}: {key!r} needs {key + '|scores'!r} with a score an image")
  return arrays
