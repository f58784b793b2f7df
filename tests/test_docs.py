"""What the pages in docs show is run."""

import functools
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isomax_jax import _registry, data
from isomax_jax.cli import main
from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS
from isomax_jax.training import OBJECTIVES
from tests.detectors import tiny

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


def test_a_detector_of_ones_own_network_scores_images():
  page = (ROOT / "docs" / "detectors.md").read_text()
  (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  shown = {}
  exec(compile(block, "detectors.md", "exec"), shown)
  scores = shown["score"](shown["images"])
  assert scores.shape == (100,)
  features = np.asarray(shown["outputs"](shown["images"]).features, np.float64)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  distances = np.linalg.norm(features[:, None] - features, axis=-1)
  np.testing.assert_allclose(scores, -np.sort(distances, axis=1)[:, 4], rtol=1e-3)


def blocks_of(page):
  """Return the files that a page shows, by the name that stands in the paragraph before each."""
  found = re.findall(r"^`(\w+)\.py`:(?:[^`]|`[^`\n]+`)*?```python\n(.*?)```", page, re.M | re.S)
  assert len(found) == page.count("```python")
  return dict(found)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
  """The files of the page on extensions, in a folder outside of the package."""
  folder = tmp_path_factory.mktemp("outside")
  for name, text in blocks_of(PAGES["extend.md"]).items():
    (folder / f"{name}.py").write_text(text)
  return folder


def shell(folder, *arguments, path=None, check=True):
  """Run the command in a folder, which is on the path only where the command puts it there."""
  run = subprocess.run(
    [sys.executable, "-P", "-m", "isomax_jax", *map(str, arguments)],
    cwd=folder, capture_output=True, text=True, check=False,
    env={**os.environ, "XLA_FLAGS": "", "COLUMNS": "200"} | ({"PYTHONPATH": path} if path else {}),
  )  # fmt: skip
  assert not check or run.returncode == 0, run.stderr
  return run


@pytest.mark.slow
def test_what_others_add_is_trained_measured_and_shown_from_a_shell(outside, tmp_path):
  """A head, a network, an objective, a set and a detector, as the page has them."""
  modules = ("cosine_head", "tiny_net", "label_smoothing", "stripes", "cosine_detector")
  assert {path.stem for path in outside.glob("*.py")} == set(modules)
  imports = [word for module in modules for word in ("--import", module)]
  sets, runs = tmp_path / "sets", tmp_path / "runs"
  shell(
    outside, *imports, "train", "--data", "stripes", "--head", "cosine", "--model", "tiny_net",
    "--objective", "label_smoothing", "--objective.smoothing", "0.2", "--epochs", "3",
    "--optim.batch-size", "20", "--data.validation", "0.2", "--seeds", "0", "1",
    "--workdir", runs, "--data-dir", sets,
  )  # fmt: skip
  run = runs / "seed1"
  config = json.loads((run / "config.json").read_text())
  assert config["objective"] == {"name": "label_smoothing", "smoothing": 0.2}
  assert (config["model"]["head"], config["model"]["entropic_scale"]) == ("cosine", 10.0)
  evaluated = shell(outside, *imports, "evaluate", run, "--out", "letters", "--data-dir", sets)
  assert "Cosine (label smoothing)+MPS" in evaluated.stdout
  compared = shell(
    outside, *imports, "benchmark", run, "--out", "letters", "--data-dir", sets,
    "--detectors", "cosine_means", "entropic_score",
  )  # fmt: skip
  assert "cosine of means" in compared.stdout
  assert (run / "benchmark" / "roc.png").stat().st_size > 10_000
  shell(outside, *imports, "report", run)
  page = (run / "report.html").read_text()
  assert "Cosine (label smoothing)" in page
  assert "#882255" in page
  image = tmp_path / "image.png"
  data.write_image(image, np.zeros((28, 28, 1), np.uint8))
  answer = shell(outside, *imports, "predict", run, image, "--json")
  assert json.loads(answer.stdout)["label"] in ("lying", "standing")
  # Without its modules a run names what is missing; no code is looked for in its files.
  without = shell(outside, "evaluate", run, "--data-dir", sets, check=False)
  assert without.returncode == 1
  assert "config.json: unknown model.name 'tiny_net'; known: densenet_bc_100" in without.stderr
  assert "--import MODULE" in without.stderr
  assert without.stderr.count("\n") == 1


@pytest.mark.slow
def test_an_installed_package_is_found_by_its_entry_points(outside, tmp_path):
  installed = tmp_path / "site"
  shutil.copytree(outside, installed)
  information = installed / "my_package-1.0.dist-info"
  information.mkdir()
  (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
  (information / "entry_points.txt").write_text(
    "[isomax_jax]\ncosine_head = cosine_head\nbroken = no_such_module\n"
  )
  found = shell(tmp_path, "train", "--help", path=str(installed))
  assert "dismax or cosine." in found.stdout
  assert "the extension broken of my_package is left out: ModuleNotFoundError" in found.stderr


@pytest.mark.slow
def test_the_protocol_holds_a_detector_from_outside(outside):
  run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-p", "cosine_detector", "-m", "",
     "-k", "cosine_means", "tests/detectors/test_protocol.py"],
    cwd=ROOT, capture_output=True, text=True, check=False,
    env={**os.environ, "PYTHONPATH": str(outside)},
  )  # fmt: skip
  assert run.returncode == 0, run.stdout
  passed = re.search(r"(\d+) passed", run.stdout)
  assert int(passed[1]) > 20, run.stdout


def test_the_cosine_detector_is_the_formula(outside, monkeypatch):
  monkeypatch.syspath_prepend(str(outside))
  monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS._entries))
  monkeypatch.setattr(_registry, "_ADDED", list(_registry._ADDED))
  detector = importlib.import_module("cosine_detector").cosine()
  generator = np.random.default_rng(0)
  features, test = generator.normal(size=(2, 40, 6))
  labels = np.arange(40) % 3
  params = detector.fit(None, [tiny.arrays(features, np.zeros((40, 3)), labels=labels)])
  _, _, outputs = tiny.arrays(test)
  means = np.stack([features[labels == c].mean(0) for c in range(3)])
  norms = np.linalg.norm(test, axis=1)[:, None] * np.linalg.norm(means, axis=1)
  np.testing.assert_allclose(
    detector.score(params, None, None, outputs), (test @ means.T / norms).max(1), rtol=1e-4
  )


def commands_of(page):
  """Return the arguments of each ``isomax-jax`` in the page's shell blocks."""
  for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
    for line in block.replace("\\\n", " ").splitlines():
      command = re.search(r"\bisomax-jax (.*)", line.partition("#")[0])
      if command:
        yield shlex.split(command[1].rstrip("' "))


@pytest.mark.parametrize("name", [n for n, page in PAGES.items() if list(commands_of(page))])
def test_every_command_of_a_page_is_one(name, capsys, monkeypatch, outside):
  """Each is parsed as it stands, and what it asks for is not done."""
  monkeypatch.chdir(outside)  # Where the modules are that a page imports.
  monkeypatch.setattr(sys, "path", list(sys.path))
  for registry in (HEADS, MODELS, OBJECTIVES, DETECTORS, data.SPECS):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
  monkeypatch.setattr(_registry, "_ADDED", list(_registry._ADDED))
  ran = []

  def parsed_only(command):
    @functools.wraps(command)
    def run(*arguments, **options):
      ran.append(command.__name__)
      return 0

    return run

  for command in (
    "benchmark",
    "compile",
    "data",
    "evaluate",
    "predict",
    "prepare",
    "quickstart",
    "report",
    "train",
  ):
    module = importlib.import_module(f"isomax_jax.cli.{command}")
    monkeypatch.setattr(module, command, parsed_only(getattr(module, command)))
  commands = list(commands_of(PAGES[name]))
  for arguments in commands:
    with pytest.raises(SystemExit) as stop:
      main.main(arguments)
    assert stop.value.code == 0, (arguments, capsys.readouterr().err)
  assert ran == [arguments[0] for arguments in commands]


def test_every_link_of_a_page_leads_somewhere():
  for name, page in PAGES.items():
    for target in re.findall(r"\]\((?!http|#)([^)#]+)", page):
      assert (ROOT / "docs" / target).exists(), f"{name}: {target}"
