"""Training where what is only for a terminal, or for preparing sets, is not installed."""

import json
import subprocess
import sys

import chex
import pytest

from isomax_jax.reporting import read_records
from isomax_jax.runs import load
from tests.absent import without

ABSENT = (
  "tyro", "rich", "tensorflow_datasets", "grain", "array_record", "PIL",
  "tensorboardX", "matplotlib", "jinja2", "markupsafe", "mlxtend", "sklearn",
)  # fmt: skip
PROGRAM = f"""
import flax, orbax.checkpoint  # They have rich for themselves.
{without(*ABSENT)}
from pathlib import Path
from isomax_jax.runs import evaluate, train
from isomax_jax.runs.directory import read_config

like, run_dir, data_dir = map(Path, sys.argv[1:])
train(read_config(like), run_dir, data_dir=data_dir)
evaluate(run_dir, data_dir=data_dir)
assert not {{name.partition(".")[0] for name in sys.modules}} & set(absent)
"""


def numbers(run_dir):
  """Return what a run measured, without times."""
  log = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
  return (
    [{name: v for name, v in line.items() if "second" not in name} for line in log],
    json.loads((run_dir / "decision.json").read_text()),
    [(r.metric, r.detector, r.out_set, r.value) for r in read_records(run_dir / "records.jsonl")],
  )


@pytest.mark.slow
def test_prepared_sets_give_the_same_numbers(trained_run, tmp_path, digits_dir):
  run_dir = tmp_path / "run"
  result = subprocess.run(
    [sys.executable, "-c", PROGRAM, trained_run, run_dir, digits_dir],
    capture_output=True,
    text=True,
  )
  assert result.returncode == 0, result.stderr
  assert result.stderr == ""
  assert numbers(run_dir) == numbers(trained_run)
  chex.assert_trees_all_equal(load(run_dir).variables, load(trained_run).variables)
