"""Which Python the Makefile takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNS, FAILS = "exit 0", "exit 127"  # as a version manager's shim of a version that is not chosen

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def dry_run(tmp_path, pythons, *arguments):
  """Return what ``make test`` would do where these are the Pythons, by name."""
  for name, command in pythons.items():
    (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
    (tmp_path / name).chmod(0o755)
  command = [shutil.which("make"), "--dry-run", "test", f"VENV={tmp_path}/venv", *arguments]
  environment = {"PATH": str(tmp_path)}
  return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
  ("pythons", "taken"),
  [
    ({"python3": RUNS, "python3.12": RUNS, "python3.13": RUNS}, "python3.13"),
    ({"python3": RUNS, "python3.12": RUNS, "python3.13": FAILS}, "python3.12"),
    ({"python3": RUNS, "python3.13": FAILS}, "python3"),
  ],
)
def test_the_newest_that_runs_is_taken(tmp_path, pythons, taken):
  assert f"|| {taken} -m venv" in dry_run(tmp_path, pythons).stdout


def test_a_choice_is_kept(tmp_path):
  done = dry_run(tmp_path, {"python3.13": RUNS, "other": RUNS}, "PYTHON=other")
  assert "|| other -m venv" in done.stdout


def test_none_that_runs_is_one_line(tmp_path):
  command = [shutil.which("make"), "test", f"VENV={tmp_path}/venv", "PYTHON="]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode != 0
  assert "no Python here can make an environment" in done.stderr
