"""A user's own folder of images."""

from typing import Any

import tensorflow_datasets as tfds

from isomax_jax.data import folders
from isomax_jax.data.builders.base import ImageBuilder
from isomax_jax.data.images import read_image


class Builder(ImageBuilder, skip_registration=True):
  """The images as prediction reads them, so that a network sees what it was trained on."""

  name = "image_folder"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    """Read the images one by one; one that cannot be read ends it."""
    (tree,) = self.archives.values()
    shape = self.spec.example_shape
    splits = {}
    for split in self.spec.splits:
      files = folders.list_files(tree, split)
      images = (
        read_image(file, shape).reshape(shape if shape[2] == 3 else shape[:2]) for file in files
      )
      labels = [self.spec.class_names.index(file.parent.name) for file in files]
      splits[split] = self._generate_examples(images, labels)
    return splits
