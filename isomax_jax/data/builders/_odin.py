"""The archives of resized images that ODIN's authors published."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from isomax_jax.data.builders._images import decode
from isomax_jax.data.builders.base import ImageBuilder
from isomax_jax.data.members import read_tar

_MAX_BYTES = 2**28


class OdinBuilder(ImageBuilder, skip_registration=True):
  """Read an archive of images in a folder of its name, which may lie in another such folder."""

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    """Read the images, sorted by name."""
    ((archive, path),) = self.archives.items()
    # macOS leaves files whose names begin with a dot.
    pattern = rf"(?:{archive.removesuffix('.tar.gz')}/)+[^/.][^/]*\.(?:png|jpe?g|PNG|JPE?G)"
    contents = read_tar(path, pattern, max_bytes=_MAX_BYTES)
    count = self.spec.splits["test"]
    if len(contents) != count:
      raise ValueError(f"{path} must hold {count:,} images, got {len(contents):,}")
    images = []
    for name in sorted(contents):
      image = decode(contents[name], f"{path}: {name}", side=self.spec.example_shape[0])
      if image.mode != "RGB":
        raise ValueError(f"{path}: {name} must be in colour (RGB), got mode {image.mode}")
      images.append(np.asarray(image))
    return {"test": self._generate_examples(images, np.zeros(count, np.uint8))}
