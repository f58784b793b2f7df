"""Runs that the command line trained and evaluated elsewhere, checked to be an experiment's."""

import collections
import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.cells import (
  DETECTION_METRICS,
  KNOWN_METRICS,
  METRICS,
  Experiment,
  key_of_cell,
  key_of_record,
)
from isomax_jax import data
from isomax_jax._files import naming
from isomax_jax.evaluation.measure import TEST
from isomax_jax.metrics import detection_metrics
from isomax_jax.reporting import Record, Results, read_results
from isomax_jax.runs.directory import read_config
from isomax_jax.training import TrainConfig, differences
from isomax_jax.training.schedule import count_steps

COMMIT_FILE = "commit.txt"
"""In a run directory, the commit of the code where the records could not know it."""


class Elsewhere(NamedTuple):
  """What is taken of a run: its config, its records as the experiment's, and its scores."""

  config: TrainConfig
  records: list[Record]
  scores: Mapping[str, np.ndarray]


def read_elsewhere(experiment: Experiment, run_dir: Path) -> Elsewhere:
  """Read a run directory and check that it is one of an experiment's trainings, measured.

  How it was computed (``run`` in its config) may differ. Metrics that experiments do not keep are
  left out.

  Args:
    experiment: The experiment.
    run_dir: What ``isomax-jax train`` and ``isomax-jax evaluate`` left; checkpoints are not needed.
      ``commit.txt`` in it says the code's commit where records have none.

  Returns:
    Config, records and scores.

  Raises:
    ValueError: If it was trained otherwise or not to its end; if a record is of no cell, of another
      number of images than the sets have, or not what the scores give; if the commit is not known.
  """
  config, run = read_config(run_dir), read_results(run_dir)
  with naming(run_dir):
    trainings = {cell: experiment.training(cell, config.seed) for cell in experiment.cells}
    different = min((differences(config, each) for each in trainings.values()), key=len)
    if different:
      raise ValueError(f"trained otherwise than {experiment.name}: {'; '.join(different)}")
    _check_finished(config, run)
    records = [r for r in run.records if r.metric in METRICS]
    if not records:
      raise ValueError("records.jsonl has no numbers to take: evaluate the run")
    keys = [key_of_cell(c, each) for c, each in trainings.items() if not differences(config, each)]
    for record in records:
      key = key_of_record(record)
      if key not in keys:
        values = {name: {getattr(each, name) for each in keys} for name in key._fields}
        strange = [f"{k} {v!r}" for k, v in key._asdict().items() if v not in values[k]]
        raise ValueError(
          f"a record is of no cell of {experiment.name}: {', '.join(strange) or key}"
        )
      if record.options or record.tuned_on:
        raise ValueError(f"{record.detector} must have its default options, got {record.options}")
      _check_counts(record, held_out=experiment.held_out)
    _check_whole(records)
    _check_values(records, run)
    commit = _read_commit(run_dir, records)
  kept = {f"{r.detector}|{name}" for r in records if r.detector for name in (TEST, r.out_set)}
  scores = {key: values for key, values in run.scores.items() if key in kept}
  taken = [dataclasses.replace(r, experiment=experiment.name, git_commit=commit) for r in records]
  return Elsewhere(config, taken, scores)


def _check_finished(config: TrainConfig, run: Results) -> None:
  examples = data.get_spec(config.data.name).splits["train"]
  total = count_steps(config, config.optim.epochs, examples=examples)
  last = run.metrics[-1].get("step") if run.metrics else 0
  if last != total:
    raise ValueError(f"trained for {last} steps, expected {total} of {examples} images")


def _check_counts(record: Record, *, held_out: int) -> None:
  known, unknown = (
    data.get_spec(name).splits["test"] if name else 0 for name in (record.in_set, record.out_set)
  )
  if (record.n_in, record.n_out) != (known - held_out, unknown):
    raise ValueError(
      f"{record.metric} on {record.out_set or record.in_set} must be of {known - held_out} known "
      f"and {unknown} unknown images, got {record.n_in} and {record.n_out}"
    )


def _check_whole(records: list[Record]) -> None:
  """Check that each metric is there once for each detector and set, or for the known set."""
  measured = collections.defaultdict(list)
  for r in records:
    measured[r.detector, r.out_set].append(r.metric)
  for (detector, out_set), metrics in {(None, None): [], **measured}.items():
    expected = KNOWN_METRICS if detector is None else DETECTION_METRICS
    if sorted(metrics) != sorted(expected):
      what = f"{detector} on {out_set}" if detector else "the known set"
      raise ValueError(
        f"records of {what} must be {', '.join(expected)}, each once, got "
        f"{', '.join(metrics) or 'none'}"
      )


def _check_values(records: list[Record], run: Results) -> None:
  """Check that the records of detection are what the scores give, but for rounding."""
  expected = {}
  for detector, out_set in dict.fromkeys((r.detector, r.out_set) for r in records if r.detector):
    scores = [run.scores_of(detector, name) for name in (TEST, out_set)]
    for metric, value in detection_metrics(*scores).items():
      expected[detector, out_set, metric] = (value, *map(len, scores))
  for r in records:
    if r.detector:
      value, n_in, n_out = expected[r.detector, r.out_set, r.metric]
      same = math.isclose(r.value, value, rel_tol=1e-9) and (r.n_in, r.n_out) == (n_in, n_out)
      if not same:
        raise ValueError(
          f"{r.metric} of {r.detector} on {r.out_set} is {r.value} of {r.n_in} and {r.n_out} "
          f"images in records.jsonl, {value} of {n_in} and {n_out} by scores.npz"
        )


def _read_commit(run_dir: Path, records: list[Record]) -> str:
  """Return the one commit that records and file name."""
  commits = {r.git_commit for r in records if r.git_commit}
  path = run_dir / COMMIT_FILE
  if path.exists():
    commits.add(path.read_text().strip())
  if len(commits) != 1 or not all(re.fullmatch("[0-9a-fA-F]{7,40}", commit) for commit in commits):
    found = ", ".join(map(repr, sorted(commits))) or "none"
    raise ValueError(
      f"records and {COMMIT_FILE} must name one commit of the code, in 7 to 40 hexadecimal digits "
      f"and nothing else, got {found}"
    )
  return commits.pop()
