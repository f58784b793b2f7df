import hashlib
import json

import numpy as np
import pytest

from isomax_jax.data._decoded import read_decoded, write_decoded

ARRAYS = {
  "train-images": np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8),
  "train-labels": np.arange(7, dtype=np.int32),
}


@pytest.fixture
def folder(tmp_path):
  write_decoded(tmp_path, ARRAYS)
  return tmp_path


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_read_back(name, folder):
  array = read_decoded(folder, name)
  assert array.dtype == ARRAYS[name].dtype
  np.testing.assert_array_equal(array, ARRAYS[name])
  assert not array.flags.writeable
  np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), ARRAYS[name])


def test_what_is_not_there(folder, tmp_path_factory):
  assert read_decoded(folder, "test-images") is None
  assert read_decoded(tmp_path_factory.mktemp("empty"), "train-images") is None


def test_layout_of_the_memory_does_not_matter(tmp_path):
  array = np.asfortranarray(ARRAYS["train-images"]).transpose(0, 2, 1, 3)[:, ::2]
  write_decoded(tmp_path, {"test-images": array})
  np.testing.assert_array_equal(read_decoded(tmp_path, "test-images"), array)


@pytest.mark.parametrize("position", [0, 8, 20, 128, -1])
def test_any_flipped_bit_is_seen(position, folder):
  path = folder / "train-images.npy"
  content = bytearray(path.read_bytes())
  content[position] ^= 1
  path.write_bytes(content)
  message = (
    rf"^{path} is damaged \(its checksum is wrong\): delete {folder} and prepare the set again$"
  )
  with pytest.raises(ValueError, match=message):
    read_decoded(folder, "train-images")


def test_missing_array(folder):
  (folder / "train-labels.npy").unlink()
  with pytest.raises(ValueError, match=rf"^{folder}/train-labels.npy is damaged \(.*No such file"):
    read_decoded(folder, "train-labels")


@pytest.mark.parametrize("manifest", ["{", "[]", ""])
def test_damaged_manifest(manifest, folder):
  (folder / "decoded.json").write_text(manifest)
  with pytest.raises(ValueError, match=rf"^{folder}/train-images.npy is damaged \("):
    read_decoded(folder, "train-images")


def test_no_pickle_is_loaded(folder):
  path = folder / "train-labels.npy"
  np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
  manifest = json.loads((folder / "decoded.json").read_text())
  manifest["train-labels"] = hashlib.sha256(path.read_bytes()).hexdigest()
  (folder / "decoded.json").write_text(json.dumps(manifest))
  with pytest.raises(ValueError, match=r"is damaged \(.*Python objects"):
    read_decoded(folder, "train-labels")
