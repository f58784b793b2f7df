import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import runner
from experiments.cells import select
from isomax_jax.detectors import Unsupported
from isomax_jax.evaluation import tuning
from isomax_jax.reporting import append_records, read_records
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.interruption import listen
from tests.experiments import tiny

ROOT = Path(__file__).parents[2]
STEPS_PER_EPOCH, INTERVAL = 5, 30


def start(workdir, digits_dir, *arguments):
  """Start the tiny experiment in a process group of its own."""
  words = ["--workdir", str(workdir), "--data-dir", str(digits_dir), *arguments]
  return subprocess.Popen(
    [sys.executable, "-m", "tests.experiments.tiny", *words],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def finish(process):
  output = process.communicate(timeout=300)[0]
  assert process.returncode == 0, output
  return output


def wait_for(condition, process):
  deadline = time.monotonic() + 200
  while not condition():
    assert process.poll() is None, process.communicate()[0]
    assert time.monotonic() < deadline
    time.sleep(0.02)


def read_log(run_dir):
  path = run_dir / "metrics.jsonl"
  whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
  return [json.loads(line) for line in whole]


def run_dirs(workdir):
  return tuple(
    workdir / "runs" / f"mnist_5k_0-3-small_cnn-{head}-24epochs-seed0"
    for head in ("softmax-es1", "isomax-es10")
  )


@pytest.fixture(scope="module")
def killed(tmp_path_factory, digits_dir):
  """The experiment, killed with its second network half-way; then run to its end."""
  workdir = tmp_path_factory.mktemp("killed")
  first, second = run_dirs(workdir)
  process = start(workdir, digits_dir)
  wait_for(lambda: len(read_log(second)) >= 14, process)
  os.killpg(process.pid, signal.SIGKILL)
  process.communicate()
  with contextlib.closing(Checkpoints(second / "checkpoints", read_only=True)) as checkpoints:
    saved = checkpoints.latest_step()
  before = {
    "step": read_log(second)[-1]["step"],
    "saved": saved,
    "records": read_records(workdir / "tiny.jsonl"),
    "first": (first / "metrics.jsonl").stat().st_mtime_ns,
  }
  finish(start(workdir, digits_dir))
  return workdir, before


@pytest.mark.slow
def test_a_killed_experiment_repeats_no_finished_cell(killed):
  workdir, before = killed
  first, _ = run_dirs(workdir)
  records = read_records(workdir / "tiny.jsonl")
  assert {record.head for record in before["records"]} == {"softmax"}
  assert records[: len(before["records"])] == before["records"]
  assert {record.head for record in records[len(before["records"]) :]} == {"isomax"}
  assert (first / "metrics.jsonl").stat().st_mtime_ns == before["first"]


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_last_checkpoint(killed):
  workdir, before = killed
  log = read_log(run_dirs(workdir)[1])
  assert [line["step"] for line in log] == list(range(5, 121, 5))
  starts = [line["step"] - STEPS_PER_EPOCH for line in log if "compile_seconds" in line]
  assert starts == [0, before["saved"]]
  # The last checkpoint of those that were due may still have been on its way to the disk.
  assert 0 < before["step"] - 2 * INTERVAL < before["saved"] <= before["step"]


@pytest.mark.slow
def test_a_finished_experiment_does_nothing(killed, digits_dir):
  workdir, _ = killed
  files = {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}
  output = finish(start(workdir, digits_dir))
  assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*")} == files
  assert f"records: {workdir / 'tiny.jsonl'}" in output


@pytest.mark.slow
def test_records_are_those_of_the_cells_and_the_log(killed):
  workdir, _ = killed
  records = read_records(workdir / "tiny.jsonl")
  measured = {
    (r.head, r.detector, r.out_set, r.checkpoint)
    for r in records
    if not r.metric.startswith("training_")
  }
  assert measured == {
    ("softmax", None, None, "last"),
    ("softmax", "maximum_probability", "letters", "last"),
    ("softmax", "maximum_probability_float32", "letters", "last"),
    ("isomax", None, None, "last"),
    ("isomax", "entropic_score", "letters", "last"),
    ("isomax", "entropic_score", "letters", "epoch 12"),
  }
  assert {r.n_in for r in records if not r.metric.startswith("training_")} == {1300}
  losses = {
    (r.head, r.checkpoint): (r.value, r.n_in) for r in records if r.metric == "training_loss"
  }
  for head, run_dir in zip(("softmax", "isomax"), run_dirs(workdir), strict=True):
    for epoch, line in enumerate(read_log(run_dir), start=1):
      assert losses.pop((head, f"epoch {epoch}")) == (line["loss"], 600)
  assert not losses
  at_12, at_24 = (
    next(r.value for r in records if (r.checkpoint, r.metric, r.head) == (rule, "auroc", "isomax"))
    for rule in ("epoch 12", "last")
  )
  assert at_12 != at_24


@pytest.mark.slow
def test_steps_left_over_are_no_second_record_of_the_last_epoch(killed, monkeypatch):
  """781 steps an epoch of 781.25: 24 epochs end six steps after the 24th line."""
  steps = {781: "train", 18744: "train", 18750: "train", 18751: "validation"}
  lines = [
    {"step": step, "epoch": step / 781.25, "split": split, "loss": step, "entropy": step}
    for step, split in steps.items()
  ]
  run = SimpleNamespace(config={"optim": {"batch_size": 64}}, metrics=lines)
  monkeypatch.setattr(runner, "read_results", lambda run_dir: run)
  like = read_records(killed[0] / "tiny.jsonl")[0]
  records = runner._log_records(killed[0], like)
  assert [(r.checkpoint, r.metric, r.value, r.n_in) for r in records] == [
    (f"epoch {epoch}", f"training_{name}", step, 50_000)
    for epoch, step in ((1, 781), (24, 18744))
    for name in ("loss", "entropy")
  ]


@pytest.mark.slow
def test_missing_is_what_has_no_record_of_the_same_config(killed, tmp_path):
  workdir, _ = killed
  records = read_records(workdir / "tiny.jsonl")

  def missing(records, seeds=(0,)):
    path = tmp_path / "tiny.jsonl"
    path.unlink(missing_ok=True)
    append_records(path, records)
    trainings = runner.missing_trainings(tiny.EXPERIMENT, tiny.CELLS, seeds, workdir=tmp_path)
    return [(each.job.config.seed, each.job.config.model.head, each.cells) for each in trainings]

  softmax, isomax = tiny.CELLS[:2], tiny.CELLS[2:]
  assert missing(records) == []
  assert missing([]) == [(0, "softmax", softmax), (0, "isomax", isomax)]
  assert missing(records, (0, 1)) == [(1, "softmax", softmax), (1, "isomax", isomax)]
  for change in ({"epochs": 25}, {"seed": 1}, {"entropic_scale": 3.0}, {"checkpoint": "best"}):
    changed = [
      dataclasses.replace(r, **change) if (r.head, r.out_set) == ("isomax", None) else r
      for r in records
    ]
    assert missing(changed) == [(0, "isomax", isomax[:1])], change


@pytest.mark.slow
def test_cells_that_are_added_later_are_measured_and_the_log_stays(killed, tmp_path, digits_dir):
  """The log has records of the same epoch, which are no measurement of a cell's."""
  workdir, _ = killed
  copy = tmp_path / "copy"
  shutil.copytree(workdir, copy)
  before = read_records(copy / "tiny.jsonl")
  added = tiny.CELLS[2]._replace(epoch=12)
  runner.run(tiny.EXPERIMENT, [*tiny.CELLS, added], (0,), workdir=copy, data_dir=digits_dir)
  records = read_records(copy / "tiny.jsonl")
  assert records[: len(before)] == before
  assert {(r.head, r.checkpoint, r.metric) for r in records[len(before) :]} == {
    ("isomax", "epoch 12", metric)
    for metric in ("accuracy", "negative_log_likelihood", "expected_calibration_error")
  }


@pytest.mark.slow
def test_options_are_tuned_as_the_experiment_says(killed, tmp_path, digits_dir, monkeypatch):
  workdir, _ = killed
  shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
  before = read_records(tmp_path / "tiny.jsonl")
  cell = tiny.CELLS[1]._replace(detector="odin")
  monkeypatch.setattr(tuning, "ODIN_EPSILONS", (0.01, 0.1))
  monkeypatch.setattr(runner, "run_jobs", run_here)
  experiment = tiny.EXPERIMENT._replace(tune_on="photos")
  runner.run(experiment, [cell], (0,), workdir=tmp_path, data_dir=digits_dir)
  added = read_records(tmp_path / "tiny.jsonl")[len(before) :]
  assert {(r.head, r.detector, r.out_set, r.tuned_on) for r in added} == {
    ("softmax", "odin", "letters", "photos")
  }
  (options,) = {tuple(sorted(r.options.items())) for r in added}
  assert dict(options)["epsilon"] in (0.01, 0.1)


@pytest.mark.slow
def test_a_detector_that_a_network_cannot_have_stops_its_cell(
  killed, tmp_path, digits_dir, monkeypatch
):
  workdir, _ = killed
  shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
  before = (tmp_path / "tiny.jsonl").read_bytes()
  monkeypatch.setattr(runner, "run_jobs", run_here)
  cell = tiny.CELLS[3]._replace(detector="dice")
  with pytest.raises(Unsupported, match="dice"):
    runner.run(tiny.EXPERIMENT, [cell], (0,), workdir=tmp_path, data_dir=digits_dir)
  assert (tmp_path / "tiny.jsonl").read_bytes() == before


def run_here(run, jobs, *, report):
  """Run jobs in this process, where what a test patches is patched."""
  with listen() as interruption:
    return [run(job, report=report, interruption=interruption) for job in jobs]


@pytest.mark.slow
def test_workers_of_a_killed_parent_save_and_stop(tmp_path, digits_dir):
  first, _ = run_dirs(tmp_path)
  process = start(tmp_path, digits_dir, "--cells", "*/softmax")
  wait_for(lambda: len(read_log(first)) >= 5, process)
  process.kill()  # The parent alone, as when memory runs out.
  process.communicate(timeout=200)  # Ends when the last worker has closed its output.
  # Where it stopped, which may be between lines of the log.
  saved = Checkpoints(first / "checkpoints", read_only=True).latest_step()
  assert saved < 120
  assert 0 <= saved - read_log(first)[-1]["step"] < STEPS_PER_EPOCH


def test_cells_are_selected_by_patterns():
  assert select(tiny.CELLS, ["*"]) == list(tiny.CELLS)
  assert select(tiny.CELLS, ["*/softmax*", "*@epoch 12"]) == [*tiny.CELLS[:2], tiny.CELLS[4]]
  with pytest.raises(ValueError, match="no cell matches 'resnet'; --list shows their names"):
    select(tiny.CELLS, ["*/softmax", "resnet"])
  assert tiny.CELLS[4].name == ("small_cnn/mnist_5k:0-3/isomax+entropic_score/letters@epoch 12")


@pytest.mark.slow
def test_the_list_shows_what_is_measured_and_what_is_needed(killed, capsys, digits_dir):
  workdir, _ = killed
  options = ["--workdir", str(workdir), "--data-dir", str(digits_dir), "--list"]
  with pytest.raises(SystemExit) as stop:
    runner.main(tiny.EXPERIMENT, "", ["--seeds", "0", "1", *options])
  lines = capsys.readouterr().out.splitlines()
  assert stop.value.code == 0
  assert [line.split() for line in lines[:-1]] == [
    [*cell.name.split(), "0", "-"] for cell in tiny.CELLS
  ]
  assert lines[-1].endswith("what is missing takes 2 trainings")


def test_cells_whose_sets_are_missing_are_named(tmp_path, capsys, digits_dir):
  cells = [cell._replace(out_set="odin_lsun_resize") for cell in tiny.CELLS[1:2]]
  ready, unprepared = runner.split_prepared([*tiny.CELLS, *cells], data_dir=digits_dir)
  assert ready == list(tiny.CELLS)
  assert unprepared == ["odin_lsun_resize"]
  experiment = tiny.EXPERIMENT._replace(cells=cells)
  options = ["--workdir", str(tmp_path), "--data-dir", str(digits_dir)]
  with pytest.raises(SystemExit) as stop:
    runner.main(experiment, "", options)
  assert stop.value.code == 1
  assert capsys.readouterr().err == (
    "python -m experiments.tiny: no cell can be run before its sets are prepared: "
    "isomax-jax prepare odin_lsun_resize\n"
  )
  assert not list(tmp_path.iterdir())
