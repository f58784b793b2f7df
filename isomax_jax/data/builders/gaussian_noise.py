"""Gaussian noise."""

import numpy as np

from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders._noise import NoiseBuilder


class Builder(NoiseBuilder, skip_registration=True):
  """Pixels of mean .5 and deviation 1, clipped to [0, 1].

  References:
    Liang et al., *Enhancing the Reliability of Out-of-distribution Image Detection in Neural
    Networks*, section 4.2.
  """

  name = "gaussian_noise"

  @staticmethod
  def from_uniform(bits: np.ndarray) -> np.ndarray:
    """Turn 32 random bits into a clipped normal value by the inverse distribution function."""
    package_folder("scipy", extra="train")
    from scipy.special import ndtri

    normal = ndtri((bits + 0.5) / 2**32)
    return np.rint(255 * np.clip(0.5 + normal, 0, 1)).astype(np.uint8)
