import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from isomax_jax.data import SPECS, load
from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders.letters import FONTS

CASES = [
  ("A", "DejaVuSans"),
  ("J", "STIXGeneral"),
  ("a", "cmr10"),
  ("y", "cmti10"),
  ("R", "DejaVuSansMono-BoldOblique"),
]


@pytest.fixture(scope="module")
def letters(data_dir):
  return load("letters", "test", data_dir=data_dir)


def boxes(images):
  """Return top, bottom, left and right of what is not black."""
  rows, columns = images.any(axis=(2, 3)), images.any(axis=(1, 3))
  ends = [np.argmax(axis, axis=1) for axis in (rows, rows[:, ::-1], columns, columns[:, ::-1])]
  return ends[0], 28 - ends[1], ends[2], 28 - ends[3]


def test_each_letter_in_each_font(letters):
  assert len(set(FONTS)) == len(FONTS) == 21
  assert letters.labels.tolist() == np.repeat(np.arange(30), 21).tolist()
  assert len({image.tobytes() for image in letters.images}) == 630


def test_longest_side_is_twenty_pixels(letters):
  top, bottom, left, right = boxes(letters.images)
  longest = np.maximum(bottom - top, right - left)
  # The faint edge of a stroke may round to black.
  assert longest.max() == 20
  assert longest.min() >= 19


def test_mass_is_centred_as_in_mnist(letters, data_dir):
  for images in (letters.images, load("mnist_5k", "test", data_dir=data_dir).images):
    mass = images[..., 0].astype(np.float64)
    total = mass.sum(axis=(1, 2))
    for axis in (1, 2):
      centre = mass.sum(axis=3 - axis) @ np.arange(28) / total
      assert np.abs(centre - 14).max() <= 0.51


def test_white_on_black_with_the_stroke_and_size_of_mnist(letters, data_dir):
  digits = load("mnist_5k", "test", data_dir=data_dir)
  for part in (letters, digits):
    assert 0.7 < (part.images == 0).mean() < 0.85
    assert (part.images.max(axis=(1, 2, 3)) > 200).mean() > 0.99
  assert abs(letters.images.mean() - digits.images.mean()) < 15


@pytest.mark.parametrize(("letter", "font"), CASES)
def test_letter_is_that_of_its_label(letter, font, letters):
  index = SPECS["letters"].class_names.index(letter) * 21 + FONTS.index(font)
  folder = package_folder("matplotlib", extra="quickstart") / "mpl-data" / "fonts" / "ttf"
  canvas = Image.new("L", (300, 300))
  type_face = ImageFont.truetype(folder / f"{font}.ttf", 90)
  ImageDraw.Draw(canvas).text((90, 60), letter, fill=255, font=type_face)
  top, bottom, left, right = (int(end[0]) for end in boxes(letters.images[index : index + 1]))
  drawn = np.asarray(canvas.crop(canvas.getbbox()).resize((right - left, bottom - top)))
  stored = letters.images[index, top:bottom, left:right, 0]
  assert np.corrcoef(drawn.ravel(), stored.ravel())[0, 1] > 0.97
