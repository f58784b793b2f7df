"""What the commands say of runs and images from strangers; and that none loads a pickle."""

import contextlib
import csv
import io
import json
import os
import pickle
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from isomax_jax.cli.main import main
from isomax_jax.data import get_spec, prepare, spec_to_json
from isomax_jax.data.examples import open_stored, read_split
from isomax_jax.data.members import read_tar
from isomax_jax.reporting import read_results
from isomax_jax.runs.known_set import find_known_set
from isomax_jax.runs.network import make_network
from isomax_jax.training import DataConfig, TrainConfig, create_state, to_json
from isomax_jax.training.checkpoints import MANIFEST, Checkpoints, _digest, _files_of
from isomax_jax.training.optim import sgd
from tests.data import miniature
from tests.fuzz.strategies import nested

CONFIG = TrainConfig(data=DataConfig(name="mnist_5k:0-3"))


def write_json(path, value):
  path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run directory of a network that was never trained."""
  run_dir = tmp_path_factory.mktemp("whole") / "run"
  run_dir.mkdir()
  known = find_known_set(CONFIG)
  optimizer = sgd(CONFIG.optim)
  model, shape = make_network(CONFIG, known), known.spec.example_shape
  state = jax.eval_shape(lambda: create_state(model, optimizer, jax.random.key(0), shape))
  random = np.random.default_rng(0)
  state = jax.tree.map(lambda leaf: jnp.asarray(random.random(leaf.shape), leaf.dtype), state)
  with contextlib.closing(Checkpoints(run_dir / "checkpoints")) as checkpoints:
    checkpoints.save(state.replace(step=jnp.asarray(1, jnp.int32)), {})
  write_json(run_dir / "config.json", to_json(CONFIG))
  write_json(run_dir / "data.json", spec_to_json(known.spec))
  decision = {
    "detector": "entropic_score", "threshold": -1.0, "tpr": 0.95, "temperature": 1.0,
    "examples": 9, "class_names": known.class_names,
  }  # fmt: skip
  write_json(run_dir / "decision.json", decision)
  return run_dir


@pytest.fixture
def run_dir(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture
def digit(tmp_path):
  folder = tmp_path / "images"
  folder.mkdir()
  Image.new("L", (28, 28), 99).save(folder / "digit.png")
  return folder / "digit.png"


@pytest.fixture
def command(capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")

  def run(*arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
      main([str(argument) for argument in arguments])
    output, errors = capsys.readouterr()
    return stop.value.code, output, errors

  return run


def change(name, **changes):
  def do(run_dir):
    write_json(run_dir / name, {**json.loads((run_dir / name).read_text()), **changes})

  return do


def content(name, data):
  return lambda run_dir: (run_dir / name).write_bytes(data)


def sign(folder):
  digests = {name: _digest(path) for name, path in _files_of(folder).items()}
  write_json(folder / MANIFEST, {"sha256": digests})


def forge(name, data):
  """Change a file of the checkpoint, and the manifest with it."""

  def do(run_dir):
    folder = run_dir / "checkpoints" / "1"
    for path in folder.glob(name):
      path.write_bytes(data)
    sign(folder)

  return do


HOSTILE = {
  "nested config": content("config.json", b"[" * 100_000),
  "config of a long word": change("config.json", model={"name": "x" * 10**6}),
  "config of a word of two lines": change("config.json", **{"a\nb\x1b[2J": 1}),
  "config of half a batch": change("config.json", optim={"batch_size": 2.5}),
  "set by a path": change("config.json", data={"name": "image_folder/../../etc-8x8x3"}),
  "images without end": change("data.json", image_shape=[10**6, 10**6, 3]),
  "nested description": change("data.json", colour=nested(100)),
  "no class": change("data.json", class_names=[]),
  "too few class names": change("decision.json", class_names=["0"]),
  "unknown detector": change("decision.json", detector="os.system"),
  "detector that needs a fit": change("decision.json", detector="knn"),
  "threshold that is none": change("decision.json", threshold=float("nan")),
  "temperature of 0": change("decision.json", temperature=0),
  "notes that are a list": forge("notes/metadata", b"[]" * 2),
  "metadata of nothing": forge("state/_METADATA", b"{}"),
  "nested metadata": forge("state/_METADATA", b"[" * 100_000),
  "arrays of nothing": forge("state/d/*", b""),
  "arrays of noise": forge("state/ocdbt.process_0/d/*", b"noise" * 100),
  "manifest of another folder": forge("state/../../../config.json", b"{}"),
}


@pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:coroutine:RuntimeWarning"
)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_run_is_one_line_that_names_it(run_dir, digit, command, name):
  HOSTILE[name](run_dir)
  code, output, errors = command("predict", run_dir, digit)
  assert (code, output) == (1, "")
  (line,) = errors.splitlines()
  assert line.startswith("isomax-jax: ")
  assert str(run_dir) in line or "image_folder/" in line
  assert "bug" not in line
  assert line.isprintable()
  assert len(line) < 1100


def test_pickled_scores_are_refused_where_scores_are_read(run_dir, digit, command):
  path = run_dir / "scores.npz"
  np.savez(path, **{"a|b": np.array([{}])})
  code, output, errors = command("report", run_dir)
  assert (code, output) == (1, "")
  (line,) = errors.splitlines()
  assert line.startswith(f"isomax-jax: {path}: ")
  assert "allow_pickle=False" in line
  assert line.isprintable()
  code, _, errors = command("predict", run_dir, digit)  # Which reads none.
  assert (code, errors) == (0, "")


@pytest.mark.by_hand
def test_a_forged_checkpoint_leaves_nothing_else_on_the_terminal(run_dir, digit):
  HOSTILE["arrays of noise"](run_dir)
  program = "from isomax_jax.cli.main import main; main()"
  arguments = [sys.executable, "-c", program, "predict", str(run_dir), str(digit)]
  result = subprocess.run(arguments, capture_output=True, text=True, check=False)
  assert result.returncode == 1
  assert len(result.stderr.splitlines()) == 1, result.stderr


NAMES = ["[red]a[b.png", ":cat:.png", "two\nlines.png", "\x1b[2J.png", b"\xff\xfe.png"]


def test_names_of_files_are_shown_as_they_are(run_dir, digit, command):
  """Markup, control characters, and bytes that are no text."""
  classes = ["[/x]", "[red]1", "2\n", "3"]
  values = json.loads((run_dir / "data.json").read_text())
  change("data.json", class_names=[*classes, *values["class_names"][4:]])(run_dir)
  change("decision.json", class_names=classes)(run_dir)
  bracketed = digit.parent / "a["
  bracketed.mkdir()
  for folder, name in [*((digit.parent, name) for name in NAMES), (bracketed, "b].png")]:
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    with open(path, "wb") as file:
      file.write(digit.read_bytes())
  code, output, errors = command("predict", run_dir, digit.parent)
  assert (code, errors) == (0, "")
  shown = ("[red]a[b.png", ":cat:.png", r"two\nlines.png", r"\x1b[2J.png", "a[/b].png")
  for name in (*shown, r"\udcff\udcfe.png"):
    assert name in output, name
  code, output, errors = command("predict", run_dir, digit.parent, "--csv")
  assert (code, errors) == (0, "")
  names = [os.path.basename(row["path"]) for row in csv.DictReader(io.StringIO(output))]
  assert sorted(names) == sorted(
    [*map(str, NAMES[:4]), r"\xff\xfe.png", "digit.png", "b].png"]
  )  # fmt: skip
  code, output, errors = command("predict", run_dir, digit.parent, "--json")
  assert len([json.loads(line) for line in output.splitlines()]) == 7


def test_a_refused_file_is_one_line_whatever_its_name(run_dir, digit, command):
  (digit.parent / "two\nlines\x1b[2J.png").write_text("no image")
  code, _, errors = command("predict", run_dir, digit.parent, "--json")
  assert code == 1
  (line,) = errors.splitlines()
  assert r"two\nlines\x1b[2J.png is not a PNG" in line
  assert line.isprintable()


_unpickled = []
_watching = False


def _watch(event, arguments):
  if _watching and event == "pickle.find_class":
    _unpickled.append(arguments)


@pytest.fixture
def no_pickle(monkeypatch):
  """Make loading a pickle fail, by whatever name, where it can be told."""
  global _watching

  def refuse(*arguments, **options):
    raise AssertionError("a pickle was loaded")

  if not _watching:
    sys.addaudithook(_watch)  # It stays: it cannot be taken away again.
  _watching = True
  _unpickled.clear()
  for name in ("load", "loads", "Unpickler", "_load", "_loads", "_Unpickler"):
    monkeypatch.setattr(pickle, name, refuse)
  yield
  _watching = False
  assert _unpickled == []


def test_no_reader_loads_a_pickle(run_dir, digit, command, tmp_path, no_pickle):
  scores = {"entropic_score|test": np.arange(9.0), "entropic_score|letters": np.arange(5.0)}
  np.savez(run_dir / "scores.npz", **scores)
  for options in ((), ("--json",)):
    code, _, errors = command("predict", run_dir, digit, *options)
    assert (code, errors) == (0, "")
  code, _, errors = command("report", run_dir)
  assert (code, errors) == (0, "")
  miniature.write_tar(tmp_path / "a.tar.gz", {"a": b"cos\nsystem\n(S'true'\ntR."})
  assert read_tar(tmp_path / "a.tar.gz", "a", max_bytes=20_000)
  miniature.image_tree(tmp_path / "pets")
  name = "image_folder/pets-8x8x3"
  folder = prepare(name, data_dir=tmp_path, manual_dir=tmp_path)
  spec = get_spec(name, data_dir=tmp_path)
  assert len(read_split(folder, spec, "test").images) == 6
  (folder / "decoded.json").unlink()
  assert len(open_stored(folder, spec, "test").read(slice(None)).images) == 6


@pytest.mark.parametrize("name", ["scores.npz", "examples.npz"])
def test_an_object_array_is_refused_unloaded(run_dir, no_pickle, name):
  class Trap:
    def __reduce__(self):
      return (os.system, ("false",))

  np.savez(run_dir / name, **{"a|b": np.array([Trap()], dtype=object)})
  with pytest.raises(ValueError, match=f"^{run_dir / name}: .*allow_pickle=False"):
    read_results(run_dir)
