"""Low-frequency noise images, the seeds of ACET's search."""

import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax import _checks
from isomax_jax.typing import Batch

# The filter's radius in deviations of the widest: the authors' 7 pixels for 2.5.
_REACH = 3


def low_frequency_noise(
  key: jax.Array, batch: Batch, *, sigmas: tuple[float, float] = (1.0, 2.5)
) -> jax.Array:
  r"""Make a noise image for each image of a batch, as ACET's authors do.

  From :math:`x`, the image with its pixels shuffled, channels together, at even positions of the
  global batch, and uniform noise at odd ones, it is

  .. math::
    z = G_\sigma * x, \quad \sigma \sim U(\sigma_0, \sigma_1), \qquad
    \frac{z - \min z}{\max z - \min z}

  with a Gaussian filter :math:`G_\sigma`, the image mirrored at its edges, and extremes over pixels
  and channels. The authors draw one :math:`\sigma` a batch; here every image has its own. A flat
  image, for which they divide by zero, stays in [0, 1].

  Args:
    key: Random key, the same on every device.
    batch: Images, pixels of [0, 1], shape ``[batch, height, width, channels]``, floating, and
      their positions in the global batch.
    sigmas: Least and largest deviation of the filter, in pixels.

  Returns:
    Noise images, pixels of [0, 1], of the images' shape.

  Raises:
    TypeError: If the images are not floating.
    ValueError: If the deviations are not positive or not in their order.

  Example:
    >>> batch = Batch(jnp.ones((2, 8, 8, 3)), jnp.zeros(2, int), positions=jnp.arange(2))
    >>> noise = low_frequency_noise(jax.random.key(0), batch)
    >>> noise.shape, float(noise[1].min()), float(noise[1].max())
    ((2, 8, 8, 3), 0.0, 1.0)

  References:
    Hein et al., *Why ReLU Networks Yield High-Confidence Predictions Far Away From the Training
    Data and How to Mitigate the Problem*, Section 5.
  """
  images = _checks.floating("images", batch.images)
  low, high = sigmas
  _checks.positive("sigmas[0]", low)
  _checks.positive("sigmas[1]", high)
  if low > high:
    raise ValueError(f"sigmas must be in rising order, got {sigmas}")
  radius = int(_REACH * high)

  def make(image: jax.Array, position: jax.Array) -> jax.Array:
    pixel_key, sigma_key = jax.random.split(jax.random.fold_in(key, position))
    shuffled = jax.random.permutation(pixel_key, image.reshape(-1, image.shape[-1]))
    uniform = jax.random.uniform(pixel_key, image.shape, image.dtype)
    noise = jnp.where(position % 2 == 0, shuffled.reshape(image.shape), uniform)
    sigma = jax.random.uniform(sigma_key, minval=low, maxval=high)
    return _stretch(blur(noise, sigma, radius=radius))

  return jax.vmap(make)(images, batch.positions)


def blur(image: jax.Array, sigma: jax.Array, *, radius: int) -> jax.Array:
  """Apply a Gaussian filter to ``[height, width, channels]``, mirrored at the edges."""
  weights = jax.nn.softmax(-0.5 * jnp.square(jnp.arange(-radius, radius + 1) / sigma))
  rows, columns = (jnp.tensordot(weights, _shifts(size, radius), 1) for size in image.shape[:2])
  return jnp.einsum("ij,kl,jlc->ikc", rows, columns, image, precision="highest")


def _shifts(size: int, radius: int) -> np.ndarray:
  """Return the matrices that shift a mirrored line by each offset, ``[offsets, size, size]``."""
  mirrored = np.eye(size, dtype=np.float32)[np.pad(np.arange(size), radius, mode="symmetric")]
  return np.stack([mirrored[start : start + size] for start in range(2 * radius + 1)])


def _stretch(image: jax.Array) -> jax.Array:
  """Scale pixels so that the least is 0 and the largest 1."""
  low, high = jnp.min(image), jnp.max(image)
  return (image - low) / jnp.where(high > low, high - low, 1)
