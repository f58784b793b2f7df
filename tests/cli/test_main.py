import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from isomax_jax.cli.main import main
from isomax_jax.reporting import read_records
from tests.absent import without
from tests.slow import slow


@pytest.fixture
def run_command(capsys, monkeypatch, digits_dir):
  """Run the command line in this process; return exit code, output and errors."""
  monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
  monkeypatch.setenv("COLUMNS", "200")

  def run(*arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
      main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    return stop.value.code, output, errors

  return run


@pytest.fixture
def digit(tmp_path):
  path = tmp_path / "digit.png"
  image = Image.new("L", (28, 28))
  image.paste(255, (13, 5, 16, 23))
  image.save(path)
  return path


COMMANDS = ("quickstart", "train", "evaluate", "benchmark", "predict", "report")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(run_command, command):
  code, output, _ = run_command(command, "--help")
  assert code == 0
  assert f"Example: isomax-jax {command}" in output


def test_help_lists_the_commands(run_command):
  code, output, _ = run_command("--help")
  assert code == 0
  assert all(command in output for command in COMMANDS)


@pytest.mark.parametrize(
  "arguments", [("train",), ("train", "--workdir", "x", "--depth", "3"), ("fly",), ()]
)
def test_wrong_usage_is_code_2(run_command, arguments):
  assert run_command(*arguments)[0] == 2


def test_train_evaluate_report_predict(run_command, tmp_path, digit):
  run_dir = tmp_path / "run"
  code, output, _ = run_command(
    "train", "--data", "mnist_5k:0,1", "--head", "softmax", "--model", "small_cnn",
    "--epochs", "1", "--seed", "3", "--optim.learning-rate", "0.02", "--workdir", run_dir,
  )  # fmt: skip
  assert code == 0
  assert f"isomax-jax evaluate {run_dir}" in output
  config = json.loads((run_dir / "config.json").read_text())
  assert config["model"] == {
    "name": "small_cnn", "head": "softmax", "entropic_scale": 1.0, "dtype": "float32",
    "zero_init_residual": False,
  }  # fmt: skip
  assert (config["seed"], config["optim"]["learning_rate"]) == (3, 0.02)

  code, output, _ = run_command("evaluate", run_dir, "--out", "mnist_5k:7")
  assert code == 0
  records = [json.loads(line) for line in (run_dir / "records.jsonl").read_text().splitlines()]
  (auroc,) = [
    r["value"]
    for r in records
    if (r["metric"], r["detector"], r["out_set"]) == ("auroc", "maximum_probability", "mnist_5k:7")
  ]
  assert f"{100 * auroc:.1f}" in output
  assert "SoftMax+MPS" in output

  code, output, _ = run_command("report", run_dir)
  assert code == 0
  assert "</html>" in (run_dir / "report.html").read_text()

  code, output, _ = run_command("predict", run_dir, digit)
  assert code == 0
  assert "calibrated probability" in output
  assert "known" in output


@pytest.mark.slow
def test_benchmark_compares_and_tells_what_is_left_out(run_command, trained_run, tmp_path):
  run_dir = shutil.copytree(trained_run, tmp_path / "run")
  code, output, _ = run_command(
    "benchmark", run_dir, "--out", "letters", "--detectors", "energy", "dice"
  )
  assert code == 0  # That a distance head has no DICE is no failure.
  (auroc,) = [
    r.value for r in read_records(run_dir / "benchmark" / "records.jsonl") if r.metric == "auroc"
  ]
  assert f"{100 * auroc:.1f}" in output
  (line,) = [line for line in output.splitlines() if line.startswith("not run: ")]
  assert "dice" in line
  assert str(run_dir / "benchmark") in output


def test_predict_prints_json_and_csv(run_command, trained_run, digit):
  code, output, _ = run_command("predict", trained_run, digit, "--json")
  assert code == 0
  row = json.loads(output)
  assert row["path"] == str(digit)
  assert row["label"] in "0123"
  code, output, _ = run_command("predict", trained_run, digit, "--csv")
  (csv_row,) = csv.DictReader(io.StringIO(output))
  assert {name: str(value) for name, value in row.items()} == csv_row


def test_a_refused_image_is_one_line_and_code_1(run_command, trained_run, digit):
  (digit.parent / "bad.png").write_text("no image")
  code, output, errors = run_command("predict", trained_run, digit.parent, "--json")
  assert code == 1
  assert len(output.splitlines()) == 1
  (line,) = errors.splitlines()
  assert "bad.png" in line


def test_an_unknown_head_lists_the_known_ones(run_command, tmp_path):
  code, _, errors = run_command("train", "--head", "relu", "--workdir", tmp_path / "r")
  assert code == 2
  assert "unknown model.head 'relu'; known: dismax, isomax, isomax_plus, softmax" in errors


def failures(run, folder):
  new, image = folder / "r", folder / "digit.png"
  return {
    "unknown set": (("train", "--data", "cats", "--workdir", new), "unknown data set 'cats'"),
    "no training set": (("train", "--data", "letters", "--workdir", new), "no images to train"),
    "class": (("train", "--data", "mnist_5k:0,12", "--workdir", new), "12"),
    "another config": (("train", "--workdir", run), "run of another config"),
    "no run": (("evaluate", folder), "not a run directory"),
    "detector": (("benchmark", run, "--detectors", "oden"), "unknown detector 'oden'; known: ash"),
    "no such run": (("predict", folder / "nowhere", image), "nowhere"),
    "no image": (("predict", run, folder / "no.png"), "no.png"),
    "nothing to predict": (("predict", run), "images must name"),
    "two formats": (("predict", run, image, "--json", "--csv"), "cannot be combined"),
    "two reports": (("report", run, run), "--output"),
    "report of nothing": (("report", folder), "config.json is missing"),
  }


@pytest.mark.parametrize("name", list(failures(None, Path())))
def test_failures_are_one_line_and_code_1(run_command, trained_run, digit, tmp_path, name):
  arguments, expected = failures(trained_run, tmp_path)[name]
  code, _, errors = run_command(*arguments)
  assert code == 1
  (line,) = errors.splitlines()
  assert line.startswith("isomax-jax: ")
  assert expected in line
  assert not (tmp_path / "r").exists()


def test_debug_shows_the_traceback(run_command, tmp_path):
  code, _, errors = run_command("evaluate", tmp_path, "--debug")
  assert code == 1
  assert "Traceback" in errors


def test_an_unwritable_directory_is_one_line(run_command, tmp_path):
  (tmp_path / "file").write_text("")
  code, _, errors = run_command("train", "--epochs", "1", "--workdir", tmp_path / "file" / "run")
  assert code == 1
  assert len(errors.splitlines()) == 1
  assert "file" in errors


@pytest.mark.parametrize(
  ("package", "extra", "command"),
  [
    ("tyro", "train", "report"),
    slow("matplotlib", "plots", "report"),
    slow("jinja2", "plots", "report"),
    slow("libtpu", "tpu-aot", "compile"),
  ],
)
def test_a_missing_extra_names_its_installation(trained_run, package, extra, command):
  arguments = {
    "report": ["report", str(trained_run), "--output", "/dev/null"],
    "compile": ["compile", "--target", "v5e:2x2"],
  }[command]
  program = f"{without(package)}\nfrom isomax_jax.cli.main import main\nmain({arguments!r})"
  result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert result.returncode == 1
  assert result.stderr == (
    f"isomax-jax: the package {package} is missing: pip install 'isomax_jax[{extra}]'\n"
  )


@pytest.mark.parametrize(
  ("arguments", "code", "expected"),
  [
    slow(["fly"], 2, "isomax-jax"),
    (["evaluate", "no/such/run"], 1, "isomax-jax: no/such/run is not a run directory"),
  ],
)
def test_the_package_is_the_command(arguments, code, expected):
  result = subprocess.run(
    [sys.executable, "-m", "isomax_jax", *arguments], capture_output=True, text=True
  )
  assert result.returncode == code
  said = result.stdout + result.stderr
  assert expected in said
  assert "__main__" not in said


@pytest.mark.slow
def test_the_package_without_tyro_says_what_to_install():
  program = (
    f"{without('tyro')}\nimport runpy\n"
    "runpy.run_module('isomax_jax', run_name='__main__', alter_sys=True)"
  )
  result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert result.returncode == 1
  assert result.stderr == (
    "isomax-jax: the package tyro is missing: pip install 'isomax_jax[train]'\n"
  )


@pytest.mark.slow
def test_ctrl_c_saves_and_a_second_start_goes_on(tmp_path, digits_dir):
  run_dir = tmp_path / "run"
  command = [
    sys.executable, "-c", "from isomax_jax.cli.main import main; main()",
    "train", "--data", "mnist_5k:0,1", "--epochs", "40", "--workdir", str(run_dir),
    "--optim.learning-rate", "0.02",
  ]  # fmt: skip
  environment = {**os.environ, "TFDS_DATA_DIR": str(digits_dir), "XLA_FLAGS": ""}
  process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
  log = run_dir / "metrics.jsonl"
  while not (log.exists() and log.read_text().count("\n") > 2):
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.01)
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  assert process.returncode == 130
  assert "everything is saved" in errors.splitlines()[-1]
  assert "Traceback" not in errors
  stopped = json.loads(log.read_text().splitlines()[-1])["step"]

  result = subprocess.run(command, env=environment, capture_output=True, text=True)
  assert result.returncode == 0, result.stderr
  rows = [json.loads(line) for line in log.read_text().splitlines()]
  steps = [row["step"] for row in rows if row["split"] == "train"]
  assert stopped in steps
  assert steps == sorted(set(steps))
  assert rows[-1]["epoch"] == pytest.approx(40, rel=0.01)


@pytest.mark.slow
def test_seeds_are_trained_into_directories_of_their_own(tmp_path, digits_dir, capsys):
  with pytest.raises(SystemExit) as stop:
    main([
      "train", "--data", "mnist_5k:0,1", "--epochs", "1", "--seeds", "3", "4",
      "--workdir", str(tmp_path), "--data-dir", str(digits_dir),
    ])  # fmt: skip
  assert stop.value.code == 0
  for seed in (3, 4):
    assert json.loads((tmp_path / f"seed{seed}" / "config.json").read_text())["seed"] == seed
    assert (tmp_path / f"seed{seed}" / "decision.json").exists()
  said = capsys.readouterr().out.splitlines()
  assert said == [f"trained: {tmp_path / f'seed{seed}'}" for seed in (3, 4)]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (["--process-id", "0"], "distributed must be set for process_id"),
    (["--seeds", "1", "--distributed"], "seeds are trained by one process each"),
    (["--seeds", "1", "1"], "seeds must differ, got 1, 1"),
  ],
)
def test_options_of_several_processes_that_do_not_go_together(tmp_path, capsys, options, message):
  with pytest.raises(SystemExit) as stop:
    main(["train", "--workdir", str(tmp_path / "run"), *options])
  assert stop.value.code == 1
  assert message in capsys.readouterr().err
  assert not (tmp_path / "run").exists()
