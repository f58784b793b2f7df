"""Uniform noise."""

import numpy as np

from isomax_jax.data.builders._noise import NoiseBuilder


class Builder(NoiseBuilder, skip_registration=True):
  """Every value from 0 to 255 is equally likely."""

  name = "uniform_noise"

  @staticmethod
  def from_uniform(bits: np.ndarray) -> np.ndarray:
    """Take the highest byte of 32 random bits."""
    return (bits >> 24).astype(np.uint8)
