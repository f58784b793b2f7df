"""What the fitted temperature does to probabilities, and to the rankings that are made of them.

    isomax-jax quickstart --seeds 0 1 2
    python -m experiments.calibration --workdir runs/quickstart

Every network of the workdir is measured as it is and with its logits over its temperature, which
training fitted on validation images; 18 networks take three minutes on two cores.
"""

import time
from functools import partial
from pathlib import Path

import jax
import tyro

from isomax_jax import scores
from isomax_jax.detectors import create_detector, from_logits
from isomax_jax.evaluation.measure import Measurement
from isomax_jax.reporting import Record, append_records, read_results
from isomax_jax.runs import find_out_sets, load, make_records, measure_run

NAME = "calibration"
# The functions that the library's detectors of these names rank by.
SCORES = {"maximum_probability": scores.log_odds, "entropic_score": scores.entropic_score}
METRICS = (
  "accuracy", "auroc", "negative_log_likelihood", "expected_calibration_error",
  "calibrated_negative_log_likelihood", "calibrated_expected_calibration_error",
)  # fmt: skip


def calibrated_name(detector: str) -> str:
  """Name a detector of the logits over the temperature."""
  return f"calibrated_{detector}"


def measure_calibrated(run_dir: Path, *, data_dir: Path | None) -> list[Record]:
  """Measure the network of a run directory at T = 1 and at its temperature.

  Args:
    run_dir: The run directory.
    data_dir: Where sets are kept.

  Returns:
    The records of ``METRICS``, and the ``temperature``.

  Raises:
    ValueError: If the run has no temperature.
  """
  started = time.perf_counter()
  if read_results(run_dir).decision is None:
    raise ValueError(f"{run_dir} has no decision.json, so there is no temperature")
  run = load(run_dir)
  temperature = run.decision["temperature"]
  detectors = {name: create_detector(name) for name in SCORES}
  detectors |= {
    calibrated_name(name): from_logits(partial(_score_at, temperature, score))
    for name, score in SCORES.items()
  }
  _, records = measure_run(
    run,
    out_sets=find_out_sets(run, data_dir=data_dir),
    experiment=NAME,
    detectors=detectors,
    temperature=temperature,
    data_dir=data_dir,
  )
  found = Measurement(None, None, "temperature", temperature, run.decision["examples"], 0)
  seconds = time.perf_counter() - started
  return [
    *(record for record in records if record.metric in METRICS),
    *make_records(run, [found], experiment=NAME, seconds=seconds),
  ]


def _score_at(temperature: float, score, logits: jax.Array) -> jax.Array:
  return score(logits / temperature)


def main(workdir: Path = Path("runs/quickstart"), data_dir: Path | None = None) -> None:
  """Measure every run of a folder and write the records.

  Args:
    workdir: The folder of runs; the records go there too: calibration.jsonl.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  run_dirs = sorted(path.parent for path in workdir.glob("*/decision.json"))
  if not run_dirs:
    raise SystemExit(f"{workdir} has no run with a decision: isomax-jax quickstart makes some")
  records = [record for run in run_dirs for record in measure_calibrated(run, data_dir=data_dir)]
  path = workdir / f"{NAME}.jsonl"
  path.unlink(missing_ok=True)
  append_records(path, records)
  print(f"records: {path}")


if __name__ == "__main__":
  tyro.cli(main)
