import numpy as np
import pytest
from PIL import Image

from isomax_jax.data import load
from isomax_jax.data._packages import package_folder


@pytest.mark.parametrize(("label", "photo"), [(0, "china"), (1, "flower")])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 21), (3, 5), (14, 21)])
def test_patches_tile_the_photograph(label, photo, row, column, data_dir):
  file = package_folder("sklearn", extra="quickstart") / "datasets" / "images" / f"{photo}.jpg"
  with Image.open(file) as image:
    colours = np.asarray(image, dtype=np.float64)
  grey = colours @ [0.299, 0.587, 0.114]
  expected = grey[28 * row : 28 * row + 28, 28 * column : 28 * column + 28]
  images, labels = load("photos", "test", data_dir=data_dir)
  index = 330 * label + 22 * row + column
  assert labels[index] == label
  np.testing.assert_allclose(images[index, ..., 0], expected, atol=0.51)
