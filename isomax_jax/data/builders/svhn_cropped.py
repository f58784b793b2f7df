"""The cropped digits of SVHN, from the publisher's MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from isomax_jax._files import one_line
from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders.base import ImageBuilder


def read_digits(path: Path) -> tuple[np.ndarray, np.ndarray]:
  """Return the images ``[n, 32, 32, 3]`` and digits ``[n]`` of a MATLAB file, both uint8.

  It holds ``X``, ``[32, 32, 3, n]`` uint8, and ``y``, ``[n, 1]`` in 1..10; 10 is the digit 0.
  """
  package_folder("scipy", extra="train")
  import scipy.io

  try:
    content = scipy.io.loadmat(path, variable_names=("X", "y"))
  except Exception as error:  # Whatever damaged bytes make the reader raise.
    raise ValueError(f"{path} is damaged or cut short ({one_line(error)}): get it anew") from error
  missing = [name for name in ("X", "y") if name not in content]
  if missing:
    raise ValueError(f"{path} must hold the arrays X and y, {' and '.join(missing)} missing")
  images, digits = content["X"], content["y"]
  if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
    raise ValueError(
      f"{path}: X must be uint8 [32, 32, 3, n], got {images.dtype} {list(images.shape)}"
    )
  if digits.shape != (images.shape[3], 1):
    raise ValueError(f"{path}: y must be {[images.shape[3], 1]}, got {list(digits.shape)}")
  wrong = np.flatnonzero((digits < 1) | (digits > 10))
  if wrong.size:
    raise ValueError(f"{path}, image {wrong[0]}: label must be in 1..10, got {digits[wrong[0], 0]}")
  return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), (digits[:, 0] % 10).astype(np.uint8)


class Builder(ImageBuilder, skip_registration=True):
  """Digits of house numbers; the split ``extra`` is left out, as in the paper."""

  name = "svhn_cropped"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    splits = {}
    for split, count in self.spec.splits.items():
      path = self.archives[f"{split}_32x32.mat"]
      images, digits = read_digits(path)
      if len(digits) != count:
        raise ValueError(f"{path} must hold {count:,} images, got {len(digits):,}")
      splits[split] = self._generate_examples(images, digits)
    return splits
