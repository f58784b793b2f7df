import json
import re

import pytest

from isomax_jax.data import folders
from tests.data import miniature

NAME = "image_folder/insects-8x8x3"


@pytest.fixture
def tree(tmp_path):
  miniature.image_tree(tmp_path / "insects", classes=("bee", "ant"))
  return tmp_path / "insects"


def test_description(tree):
  (tree / "validation" / "wasp").mkdir(parents=True)
  (tree / "train" / "ant" / "0.png").rename(tree / "validation" / "wasp" / "0.JPEG")
  (tree / "train" / "ant" / ".DS_Store").touch()
  spec = folders.describe(NAME, tree)
  assert spec.class_names == ("ant", "bee", "wasp")
  assert spec.splits == {"train": 5, "validation": 1, "test": 6}
  assert (spec.example_shape, spec.crop_padding, spec.flip) == ((8, 8, 3), 1, False)


@pytest.mark.parametrize(
  "name",
  ["flowers-8x8x3", "image_folder/flowers", "image_folder/../x-8x8x3", "image_folder/a/b-8x8x3",
   "image_folder/-8x8x3", "image_folder/.-8x8x3", "image_folder/.x-8x8x3"],
)  # fmt: skip
def test_name_is_one_word_and_a_shape(name):
  message = f"^a folder of images must be named like {folders.PATTERN}, got '{name}'$"
  with pytest.raises(ValueError, match=message):
    folders.parse_name(name)


def test_shape_in_the_name_is_checked():
  message = r"^shape of images must be like 32x32x3 \(1 or 3 channels\), got '8x8'$"
  with pytest.raises(ValueError, match=message):
    folders.parse_name("image_folder/my-flowers-8x8")
  assert folders.parse_name("image_folder/my-flowers-8x9x1") == ("my-flowers", (8, 9, 1))


def touch(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.touch()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda t: touch(t / "dev" / "ant" / "0.png"),
     "{}/dev must be a folder named train, validation or test"),
    (lambda t: touch(t / "labels.csv"),
     "{}/labels.csv must be a folder named train, validation or test"),
    (lambda t: touch(t / "test" / "0.png"),
     "{}/test/0.png must be a class's folder: move it into one, or away"),
    (lambda t: (t / "test" / "moth").mkdir(), "{}/test/moth holds no image: fill or delete it"),
    (lambda t: (t / "validation").mkdir(),
     "{}/validation holds no class's folder: fill or delete it"),
    (lambda t: touch(t / "test" / "ant" / "notes.txt"),
     "{}/test/ant/notes.txt must be an image (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp): "
     "move it away"),
    (lambda t: touch(t / "test" / "ant" / "old.png" / "0.png"),
     "{}/test/ant/old.png must be an image (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp): "
     "move it away"),
  ],
)  # fmt: skip
def test_anything_else_is_refused_rather_than_left_out(change, message, tree):
  change(tree)
  with pytest.raises(ValueError, match=f"^{re.escape(message.format(tree))}$"):
    folders.describe(NAME, tree)


def test_no_tree(tmp_path):
  with pytest.raises(ValueError, match=f"^{tmp_path}/x is not a folder: it must hold SPLIT/CLASS"):
    folders.describe(NAME, tmp_path / "x")
  with pytest.raises(ValueError, match=f"^{tmp_path} is empty: it must hold SPLIT/CLASS/IMAGE$"):
    folders.describe(NAME, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"name": "x"})])
def test_damaged_description(content, tmp_path):
  path = tmp_path / "image_folder" / "insects-8x8x3" / "1.0.0" / "spec.json"
  touch(path)
  path.write_text(content)
  message = rf"^{path} cannot be read \(.*\): delete its folder and prepare the set again$"
  with pytest.raises(ValueError, match=message):
    folders.read_spec(NAME, data_dir=tmp_path)
