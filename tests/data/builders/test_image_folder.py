import shutil

import numpy as np
import pytest
from PIL import Image

from isomax_jax.data import get_spec, load, prepare, read_image
from tests.data import miniature

NAME = "image_folder/insects-8x8x3"


@pytest.fixture
def tree(tmp_path):
  return tmp_path / "insects"


def prepared(tree, name=NAME):
  return prepare(name, manual_dir=tree.parent, data_dir=tree.parent / "sets")


def test_images_of_the_right_size_keep_their_pixels(tree):
  images = miniature.image_tree(tree)
  prepared(tree)
  spec = get_spec(NAME, data_dir=tree.parent / "sets")
  assert (spec.class_names, spec.splits) == (("ant", "bee"), {"train": 6, "test": 6})
  for split in ("train", "test"):
    examples = load(NAME, split, data_dir=tree.parent / "sets")
    assert examples.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = [image for (part, *_), image in images.items() if part == split]
    np.testing.assert_array_equal(examples.images, expected)


@pytest.mark.parametrize("shape", ["12x6x3", "5x5x1"])
def test_other_images_are_read_as_prediction_reads_them(shape, tree):
  miniature.image_tree(tree, sides=(20, 31))
  Image.new("L", (9, 9), 77).save(tree / "test" / "ant" / "grey.jpg")
  Image.new("P", (3, 4), 2).save(tree / "test" / "bee" / "palette.gif")
  name = f"image_folder/insects-{shape}"
  prepared(tree, name)
  examples = load(name, "test", data_dir=tree.parent / "sets")
  sizes = tuple(map(int, shape.split("x")))
  files = sorted((tree / "test").glob("*/*"))
  assert len(files) == 8
  for image, file in zip(examples.images, files, strict=True):
    np.testing.assert_array_equal(image, read_image(file, sizes))


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b"", "is empty"),
    (b"GIF87a?", "cannot be read: .*|is not a PNG, .* image"),
    (miniature.encoded(miniature.random_images(1)[0], "PNG")[:-500], "cannot be read: .*"),
  ],
)
def test_corrupt_image_is_named_and_never_skipped(content, reason, tree):
  miniature.image_tree(tree)
  path = tree / "test" / "bee" / "1.png"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf"^{path} ({reason})$"):
    prepared(tree)
  assert list((tree.parent / "sets").iterdir()) == []


def test_what_changed_since_is_not_taken_for_the_same(tree):
  miniature.image_tree(tree)
  folder = prepared(tree)
  assert prepared(tree) == folder
  (tree / "test" / "bee" / "2.png").unlink()
  message = rf"^{folder} was prepared from other images than {tree} holds now: delete it and retry$"
  with pytest.raises(ValueError, match=message):
    prepared(tree)
  shutil.rmtree(folder)
  prepared(tree)
  assert len(load(NAME, "test", data_dir=tree.parent / "sets").labels) == 5


def test_not_prepared(tree):
  message = (
    rf"^{NAME} is not prepared in {tree.parent}; run isomax-jax prepare {NAME} --manual-dir DIR, "
    "with images in DIR/insects/SPLIT/CLASS/$"
  )
  for function in (
    lambda: prepare(NAME, data_dir=tree.parent),
    lambda: get_spec(NAME, data_dir=tree.parent),
  ):
    with pytest.raises(ValueError, match=message):
      function()
