"""Random images, drawn with a fixed key."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from isomax_jax.data.builders.base import ImageBuilder

# Part of the sets: another key would be another version.
_KEY = 0


class NoiseBuilder(ImageBuilder, skip_registration=True):
  """Draw images of the shape that the configuration names.

  Attributes:
    from_uniform: Function of 32 random bits, uint32, to pixel values, uint8.
  """

  from_uniform: Callable[[np.ndarray], np.ndarray]

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    count = self.spec.splits["test"]
    return {"test": self._generate_examples(self._images(count), np.zeros(count, np.uint8))}

  def _images(self, count: int) -> Iterator[np.ndarray]:
    # Raw draws, which NumPy promises never to change.
    generator = np.random.PCG64(_KEY)
    size = math.prod(self.spec.example_shape)
    for _ in range(count):
      bits = generator.random_raw((size + 1) // 2).view(np.uint32)[:size]
      yield self.from_uniform(bits).reshape(self.spec.example_shape)
