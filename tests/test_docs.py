"""What the pages in docs show is run."""

import functools
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isomax_jax.cli import main

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


def test_a_detector_is_added_as_the_page_says(tmp_path):
  """In a copy of the project: its file, its line and its test, and the protocol holds it."""
  page = (ROOT / "docs" / "add-a-detector.md").read_text()
  file, line, test = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  for folder in ("isomax_jax", "tests"):
    shutil.copytree(ROOT / folder, tmp_path / folder)
  for name in ("setup.cfg", "pyproject.toml"):
    shutil.copy(ROOT / name, tmp_path)
  detectors = tmp_path / "isomax_jax" / "detectors"
  (detectors / "_cosine.py").write_text(file)
  (tmp_path / "tests" / "detectors" / "test_cosine.py").write_text(test)
  registry = (detectors / "registry.py").read_text()
  registry = registry.replace("DETECTORS = {\n", "DETECTORS = {\n" + line)
  registry = registry.replace("\n\nDETECTORS", "\n\nfrom ._cosine import cosine\nDETECTORS")
  (detectors / "registry.py").write_text(registry)
  where = ["tests/detectors/test_protocol.py", "tests/detectors/test_cosine.py"]
  run = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-k", "cosine", *where, "isomax_jax/detectors"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert run.returncode == 0, run.stdout
  passed = re.search(r"(\d+) passed", run.stdout)
  assert int(passed[1]) > 20, run.stdout


def commands_of(page):
  """Return the arguments of each ``isomax-jax`` in the page's shell blocks."""
  for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL):
    for line in block.replace("\\\n", " ").splitlines():
      command = re.search(r"\bisomax-jax (.*)", line.partition("#")[0])
      if command:
        yield shlex.split(command[1].rstrip("' "))


@pytest.mark.parametrize("name", [n for n, page in PAGES.items() if list(commands_of(page))])
def test_every_command_of_a_page_is_one(name, capsys, monkeypatch):
  """Each is parsed as it stands, and what it asks for is not done."""
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
