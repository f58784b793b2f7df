"""What the README shows is run."""

import configparser
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BASH = [
  line.partition("#")[0].strip()
  for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
  for line in block.splitlines()
]


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON[:2], ids=["linen", "nnx"])
def test_a_loop_of_ones_own_learns(block):
  shown = {}
  exec(compile(block, "README.md", "exec"), shown)
  assert shown["value"] < 0.1 < 10 * np.log(3)
  known = np.asarray(shown["scores"])
  forward = shown["model"]
  far = 40 * np.eye(8, dtype=np.float32)
  logits = forward.apply(shown["params"], far) if "params" in shown else forward(far)
  assert known.shape == (60,)
  assert np.mean(known) > np.mean(shown["entropic_score"](logits))


def test_the_decision_is_what_the_comment_says():
  lines = PYTHON[2].splitlines()
  shown = {}
  exec("\n".join(lines[:-1]), shown)
  code, _, comment = lines[-1].partition("  # ")
  assert repr(eval(code, shown)) == comment == "array([False])"


@pytest.mark.slow
def test_a_run_from_python(monkeypatch, tmp_path, digits_dir):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
  shortened = PYTHON[3].replace("epochs=200", "epochs=3")
  assert shortened != PYTHON[3]
  shown = {}
  exec(compile(shortened, "README.md", "exec"), shown)
  assert list(shown["aurocs"]) == ["mnist_5k:8,9", "letters", "photos"]
  assert all(0.4 < auroc < 1 for auroc in shown["aurocs"].values())
  assert shown["run"].decision["detector"] == "entropic_score"
  assert shown["scores"].shape == (1,)


def test_every_command_of_the_command_line_is_one(capsys, monkeypatch):
  """Each is parsed as it stands, and the job behind it is not run."""
  from isomax_jax.cli import main
  from isomax_jax.runs import Benchmark

  commands = [shlex.split(line)[1:] for line in BASH if line.startswith("isomax-jax")]
  assert {arguments[0] for arguments in commands} == {
    "train", "evaluate", "benchmark", "report", "predict"
  }  # fmt: skip
  seen = []
  for job in ("train", "evaluate", "predict"):
    monkeypatch.setattr(f"isomax_jax.runs.{job}", lambda *a, job=job, **k: seen.append(job) or [])
  monkeypatch.setattr(
    "isomax_jax.reporting.report.write_report", lambda *a: seen.append("write_report")
  )
  monkeypatch.setattr(
    "isomax_jax.runs.benchmark",
    lambda *a, **k: seen.append("benchmark") or Benchmark([], (), {}),
  )
  for arguments in commands:
    with pytest.raises(SystemExit) as stop:
      main.main(arguments)
    assert stop.value.code == 0, capsys.readouterr().err
  assert seen == ["train", "evaluate", "benchmark", "write_report", "predict"]


def test_every_make_target_exists():
  targets = [line.split()[1] for line in BASH if line.startswith("make ")]
  assert targets == ["quickstart", "test"]
  makefile = (ROOT / "Makefile").read_text()
  assert all(f"\n{target}:" in makefile for target in targets)


def test_every_experiment_is_one(capsys, monkeypatch):
  """Each lists its cells or trains: parsed as it stands, and nothing is trained."""
  from experiments import runner

  commands = [shlex.split(line)[2:] for line in BASH if line.startswith("python -m experiments")]
  assert len(commands) >= 2
  ran = []
  monkeypatch.setattr(runner, "run", lambda experiment, cells, *a, **k: ran.append(len(cells)))
  monkeypatch.setattr(runner, "split_prepared", lambda cells, **k: (cells, []))
  for module, *arguments in commands:
    with pytest.raises(SystemExit) as stop:
      runner.main(importlib.import_module(module).EXPERIMENT, "", arguments)
    assert stop.value.code == 0, capsys.readouterr().err
  assert ran == [15]


def test_every_link_and_figure_is_there_and_a_figure_is_told_in_words():
  links = re.findall(r"(!?)\[([^]]+)\]\((?!http)([^)#]*)(?:#([^)]*))?\)", README)
  headings = {
    line[3:].lower().replace(" ", "-") for line in README.splitlines() if line[:3] == "## "
  }
  assert [target for figure, _, target, _ in links if figure] == ["docs/figures/front.png"]
  for figure, words, target, anchor in links:
    assert (ROOT / target).exists(), target
    assert not figure or len(words.split()) > 20, words
    assert target or anchor in headings, anchor


def test_every_extra_is_one_and_is_installed_from_a_checkout():
  setup = configparser.ConfigParser()
  setup.read(ROOT / "setup.cfg")
  extras = setup["options.extras_require"]
  installed = [shlex.split(line)[-1] for line in BASH if line.startswith("pip install")]
  assert all(target.partition("[")[0] == "." for target in installed), installed
  named = {name for target in installed for name in re.findall(r"[\w-]+", target)}
  assert {"train", "quickstart", "tensorboard", "test", "bench"} <= named <= set(extras)
