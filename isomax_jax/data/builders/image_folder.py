"""A user's own folders of images."""

from typing import Any

import tensorflow_datasets as tfds

from isomax_jax.data import folders
from isomax_jax.data.builders.base import ImageBuilder
from isomax_jax.data.images import read_image


class Builder(ImageBuilder, skip_registration=True):
  """Images read as prediction reads them, so that a network sees what it was trained on."""

  name = "image_folder"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    (tree,) = self.archives.values()
    splits = {}
    for split in self.spec.splits:
      files = folders.list_files(tree, split)
      images = (read_image(file, self.spec.image_shape) for file in files)
      labels = [self.spec.class_names.index(file.parent.name) for file in files]
      splits[split] = self._generate_examples(images, labels)
    return splits
