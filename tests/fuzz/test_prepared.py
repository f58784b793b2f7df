"""Prepared sets of which a file is changed."""

import json
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given

from isomax_jax.data import get_spec, prepare
from isomax_jax.data._decoded import _digest
from isomax_jax.data.examples import open_stored, read_split
from tests.data import miniature
from tests.fuzz.strategies import damaged, fuzzed, json_files, read_or_refuse

NAME = "image_folder/pets-8x8x3"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp("sets")
  miniature.image_tree(folder / "pets")
  prepared = prepare(NAME, data_dir=folder, manual_dir=folder)
  spec = get_spec(NAME, data_dir=folder)
  return prepared, spec, read_split(prepared, spec, "test")


@pytest.mark.parametrize("reader", [read_split, open_stored])
@pytest.mark.parametrize(
  "name",
  ["features.json", "dataset_info.json", "record", "label.labels.txt", "decoded.json", "npy"],
)
def test_a_prepared_set_is_what_was_written_or_refused(whole, tmp_path, name, reader):
  prepared, spec, expected = whole
  folder = shutil.copytree(prepared, tmp_path / "set")
  if name not in ("decoded.json", "npy"):
    (folder / "decoded.json").unlink()
  patterns = {"record": "*-test.array_record*", "npy": "test-images.npy"}
  (path,) = folder.glob(patterns.get(name, name))
  content = path.read_bytes()
  is_json = path.suffix == ".json"
  # The records are mostly padding.
  changes = json_files(json.loads(content)) if is_json else damaged(content.rstrip(b"\0"))

  def read():
    found = reader(folder, spec, "test")
    return found if reader is read_split else found.read(slice(None))

  @fuzzed(15)
  @given(changes)
  def check(changed):
    path.write_bytes(changed)
    found = read_or_refuse(read, folder, ValueError)
    if found is not None:
      np.testing.assert_array_equal(found.images, expected.images)
      np.testing.assert_array_equal(found.labels, expected.labels)

  check()


def sign(folder):
  names = ("test-images", "test-labels")
  digests = {name: _digest(folder / f"{name}.npy") for name in names}
  (folder / "decoded.json").write_text(json.dumps(digests))


@pytest.mark.parametrize(
  "labels",
  [np.zeros((6, 1), np.int32), np.zeros(6), np.zeros((), np.int32), np.array(["0"] * 6)],
)
def test_forged_labels_are_refused(whole, tmp_path, labels):
  folder = shutil.copytree(whole[0], tmp_path / "set")
  np.save(folder / "test-labels.npy", labels)
  sign(folder)
  for read in (read_split, open_stored):
    with pytest.raises(ValueError, match=f"^{NAME} test: labels must be integers of shape"):
      read(folder, whole[1], "test")


def test_decoded_labels_that_are_gone_are_read_from_the_records(whole, tmp_path):
  prepared, spec, expected = whole
  folder = shutil.copytree(prepared, tmp_path / "set")
  manifest = json.loads((folder / "decoded.json").read_text())
  del manifest["test-labels"]
  (folder / "decoded.json").write_text(json.dumps(manifest))
  np.testing.assert_array_equal(read_split(folder, spec, "test").labels, expected.labels)


@pytest.mark.parametrize("key", ["pythonClassName", "type"])
def test_features_do_not_import_a_module(whole, tmp_path, monkeypatch, key):
  folder = shutil.copytree(whole[0], tmp_path / "set")
  (folder / "decoded.json").unlink()
  (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
  monkeypatch.syspath_prepend(tmp_path)
  features = json.loads((folder / "features.json").read_text())
  image = features["featuresDict"]["features"]["image"]
  del image["pythonClassName"]
  image[key] = "evil.Image"
  (folder / "features.json").write_text(json.dumps(features))
  with pytest.raises(ValueError, match=rf"^{folder} cannot be read, .*'evil\.Image'$"):
    open_stored(folder, whole[1], "test")
  assert "evil" not in sys.modules
