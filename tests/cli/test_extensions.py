"""What others add to the library, from a shell."""

import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from isomax_jax import _registry
from isomax_jax.cli import extensions, main
from isomax_jax.cli.extensions import load_extensions, split_imports
from isomax_jax.detectors import DETECTORS, DetectorEntry

SOURCE = """
from isomax_jax.detectors import DETECTORS, DetectorEntry
DETECTORS.register(DetectorEntry({name!r}, DETECTORS["gen"].factory, "mine"))
"""


@pytest.fixture(autouse=True)
def restored(monkeypatch, tmp_path):
  """Work in an empty folder with no installed extensions, and forget what a test registers."""
  monkeypatch.setattr(_registry, "_ADDED", [])
  monkeypatch.setattr(DETECTORS, "_entries", dict(DETECTORS))
  monkeypatch.setattr(sys, "path", list(sys.path))
  monkeypatch.setattr(metadata, "entry_points", lambda **_: [])
  monkeypatch.chdir(tmp_path)
  modules = set(sys.modules)
  yield
  for name in set(sys.modules) - modules:
    if name.startswith("extension_of_"):
      del sys.modules[name]


def write_module(folder, name, detector):
  (folder / f"{name}.py").write_text(SOURCE.format(name=detector))


@pytest.mark.parametrize(
  ("arguments", "modules", "others"),
  [
    ([], [], []),
    (["train", "--head", "isomax"], [], ["train", "--head", "isomax"]),
    (["--import", "a", "train"], ["a"], ["train"]),
    (["train", "--import", "a.b"], ["a.b"], ["train"]),
    (["--import=a", "train", "--import", "b", "-x"], ["a", "b"], ["train", "-x"]),
    (["train", "--imports", "--important=3"], [], ["train", "--imports", "--important=3"]),
  ],
)
def test_modules_are_taken_out_of_the_arguments(arguments, modules, others):
  assert split_imports(arguments) == (modules, others)


@pytest.mark.parametrize(
  ("arguments", "got"),
  [
    (["train", "--import"], "none"),
    (["--import=", "train"], "none"),
    (["--import", "--head", "isomax"], "--head"),
    (["--import", "-x"], "-x"),
    (["--import", "./mine"], "./mine"),
    (["--import", "mine.py"], "mine.py"),
    (["--import", "a..b"], "a..b"),
  ],
)
def test_an_import_of_no_module_is_refused(arguments, got):
  with pytest.raises(
    ValueError, match=f"^--import must name a module, such as my_package.heads, got {got}$"
  ):
    split_imports(arguments)


def test_a_module_in_the_working_directory_registers(tmp_path):
  write_module(tmp_path, "extension_of_folder", "mine")
  load_extensions(["extension_of_folder"])
  assert DETECTORS["mine"].label == "mine"
  load_extensions(["extension_of_folder"])
  assert [entry.name for _, entry in _registry.added()] == ["mine"]
  assert sys.path.count(str(tmp_path)) == 1


def test_the_working_directory_is_looked_at_last_and_only_when_asked(tmp_path):
  (tmp_path / "json.py").write_text("raise RuntimeError")
  load_extensions([])
  assert str(tmp_path) not in sys.path
  load_extensions(["json"])
  assert sys.path[-1] == str(tmp_path)


BROKEN = {
  "missing": (None, "ModuleNotFoundError: No module named 'extension_of_missing'"),
  "raising": ("raise RuntimeError('two\\n  lines')", "RuntimeError: two lines"),
  "wrong": ("def f(:", "SyntaxError: invalid syntax"),
  "exiting": ("raise SystemExit(0)", "SystemExit: 0"),
  "taken": (SOURCE.format(name="gen").replace("mine", "other"), "ValueError: another detector has"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_module_that_cannot_be_imported_is_one_line_that_names_it(tmp_path, kind, capsys):
  source, reason = BROKEN[kind]
  name = f"extension_of_{kind}"
  if source is not None:
    (tmp_path / f"{name}.py").write_text(source)
  with pytest.raises(SystemExit) as stop:
    main.main(["data", "list", "--import", name])
  output, errors = capsys.readouterr()
  assert (stop.value.code, output) == (1, "")
  (line,) = errors.splitlines()
  assert line.startswith(f"isomax-jax: --import {name}: {reason}")


def point(name, load, package="a-package"):
  return SimpleNamespace(
    name=name, value=f"{name}.module", load=load, dist=package and SimpleNamespace(name=package)
  )


def test_a_broken_entry_point_is_said_and_passed_over(monkeypatch, capsys):
  def broken():
    raise ImportError("no such\nlibrary")

  asked, loaded = [], []
  points = [
    point("first", broken),
    point("second", lambda: loaded.append("second")),
    point("third", broken, package=None),
    point("fourth", lambda: loaded.append("fourth")),
  ]
  monkeypatch.setattr(metadata, "entry_points", lambda **options: asked.append(options) or points)
  load_extensions([])
  assert asked == [{"group": extensions.GROUP}]
  assert loaded == ["second", "fourth"]
  output, errors = capsys.readouterr()
  assert output == ""
  assert errors.splitlines() == [
    "isomax-jax: the extension first of a-package is left out: ImportError: no such library",
    "isomax-jax: the extension third of third.module is left out: ImportError: no such library",
  ]


def test_a_broken_entry_point_leaves_nothing_behind(monkeypatch):
  def broken():
    DETECTORS.register(DetectorEntry("half", DETECTORS["gen"].factory, "half"))
    raise SystemExit(0)

  monkeypatch.setattr(metadata, "entry_points", lambda **_: [point("half", broken)])
  load_extensions([])
  assert "half" not in DETECTORS
  assert _registry.added() == []


def test_a_command_goes_on_without_a_broken_entry_point(monkeypatch, capsys, tmp_path):
  def broken():
    raise RuntimeError("not today")

  monkeypatch.setattr(metadata, "entry_points", lambda **_: [point("first", broken)])
  with pytest.raises(SystemExit) as stop:
    main.main(["data", "list", "--data-dir", str(tmp_path)])
  output, errors = capsys.readouterr()
  assert stop.value.code == 0
  assert "mnist_5k" in output
  assert errors.splitlines() == [
    "isomax-jax: the extension first of a-package is left out: RuntimeError: not today"
  ]
