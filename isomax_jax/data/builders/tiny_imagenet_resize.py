"""The test images of Tiny ImageNet at half their size."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from isomax_jax.data.builders._images import decode
from isomax_jax.data.builders.base import ImageBuilder
from isomax_jax.data.members import read_zip

_SIDE = 64
_LARGEST_MEMBER = 2**20

_RESAMPLING = {"nearest": Image.Resampling.NEAREST, "antialiased": Image.Resampling.BICUBIC}


class Builder(ImageBuilder, skip_registration=True):
  """The images in the order of their numbers, resized as the configuration says."""

  name = "tiny_imagenet_resize"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    """Read the images one by one; their labels are not published."""
    (path,) = self.archives.values()
    count = self.spec.splits["test"]
    return {"test": self._generate_examples(self._images(path, count), np.zeros(count, np.uint8))}

  def _images(self, path: Path, count: int) -> Iterator[np.ndarray]:
    names = tuple(f"tiny-imagenet-200/test/images/test_{number}.JPEG" for number in range(count))
    height, width, _ = self.spec.image_shape
    resampling = _RESAMPLING[self.spec.name.partition("/")[2]]
    for name, content in zip(names, read_zip(path, names, max_bytes=_LARGEST_MEMBER), strict=True):
      image = decode(content, f"{path}: {name}", side=_SIDE)
      # Some of the photographs are grey.
      resized = image.convert("RGB").resize((width, height), resampling)
      yield np.asarray(resized)
