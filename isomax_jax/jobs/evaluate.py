"""Evaluate a run: numbers, scores, extremes and calibration, into its directory."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isomax_jax._files import write_arrays, write_atomically
from isomax_jax.evaluation import Record, append_records
from isomax_jax.evaluation.benchmark import ScoredSet
from isomax_jax.evaluation.calibration import calibration_to_json, measure_calibration
from isomax_jax.evaluation.runs import TEST, VALIDATION, read_decision
from isomax_jax.jobs.measure import measure
from isomax_jax.jobs.train import DETECTOR_OF_HEAD
from isomax_jax.jobs.trained import load_trained
from isomax_jax.jobs.unknown import default_out_sets

_EXAMPLES = 8


def evaluate(
  run_dir: str | os.PathLike[str],
  *,
  out_sets: Sequence[str] | None = None,
  experiment: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> list[Record]:
  """Measure the network of a run directory and write scores, examples and records into it.

  Where the run has a temperature, fitted on validation images, the calibration of the test images'
  probabilities is written too. What an earlier evaluation wrote is replaced.

  Args:
    run_dir: The run directory.
    out_sets: References of unknown sets; None takes
      :func:`isomax_jax.jobs.unknown.default_out_sets`.
    experiment: Name of the protocol in the records; None takes the directory's name.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Returns:
    The records; see :func:`isomax_jax.jobs.measure.measure`.

  Raises:
    ValueError: If the directory is not a trained run, or an out-set does not fit it.
  """
  run_dir = Path(run_dir)
  trained = load_trained(run_dir)
  if out_sets is None:
    out_sets = default_out_sets(
      trained.setup.reference, outliers=trained.config.objective.outliers, data_dir=data_dir
    )
  decision = run_dir / "decision.json"
  temperature = read_decision(decision)["temperature"] if decision.exists() else None
  measured = measure(
    trained,
    out_sets=out_sets,
    experiment=experiment or run_dir.resolve().name,
    temperature=temperature,
    data_dir=data_dir,
  )
  write_arrays(run_dir / "scores.npz", measured.scores)
  own = DETECTOR_OF_HEAD[trained.config.model.head]
  write_arrays(run_dir / "examples.npz", _extremes(measured.sets, measured.scores, own))
  _write_calibration(run_dir / "calibration.json", measured.sets[TEST], temperature)
  (run_dir / "records.jsonl").unlink(missing_ok=True)
  append_records(run_dir / "records.jsonl", measured.records)
  return measured.records


def _write_calibration(path: Path, test: ScoredSet, temperature: float | None) -> None:
  """Write what the temperature does to the test images' probabilities; nothing without one."""
  path.unlink(missing_ok=True)
  if temperature is not None:
    measured = measure_calibration(test.outputs.logits, test.labels, temperature=temperature)
    write_atomically(path, (json.dumps(calibration_to_json(measured)) + "\n").encode())


def _extremes(sets: dict[str, ScoredSet], scores: dict[str, np.ndarray], detector: str):
  """Pick each set's images with the highest and the lowest scores, most extreme first."""
  examples = {}
  for name, scored in sets.items():
    if name == VALIDATION:
      continue
    values = scores[f"{detector}|{name}"]
    order = np.argsort(values, kind="stable")
    for end, chosen in (("highest", order[::-1][:_EXAMPLES]), ("lowest", order[:_EXAMPLES])):
      examples[f"{name}|{end}"] = scored.images[chosen]
      examples[f"{name}|{end}|scores"] = values[chosen]
  return examples
