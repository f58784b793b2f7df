"""Patches of the two photographs that scikit-learn ships."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders.base import ImageBuilder


def grey_patches(photo: Path, side: int) -> np.ndarray:
  """Cut a photograph into the squares that tile it from its top left corner, row by row.

  Returns:
    Luminance (.299 R + .587 G + .114 B), shape ``[patches, side, side]``, uint8.
  """
  with Image.open(photo) as image:
    grey = np.asarray(image.convert("L"))
  rows, columns = grey.shape[0] // side, grey.shape[1] // side
  grid = grey[: rows * side, : columns * side].reshape(rows, side, columns, side)
  return grid.swapaxes(1, 2).reshape(rows * columns, side, side)


class Builder(ImageBuilder, skip_registration=True):
  """Patches labelled with the photograph that they come from."""

  name = "photos"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    folder = package_folder("sklearn", extra="quickstart") / "datasets" / "images"
    names = self.spec.class_names
    patches = [grey_patches(folder / f"{photo}.jpg", 28) for photo in names]
    labels = np.repeat(np.arange(len(patches)), [len(images) for images in patches])
    return {"test": self._generate_examples(np.concatenate(patches), labels)}
