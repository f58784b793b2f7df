"""Layers shared by the networks, configured as by the paper's authors."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

Layer = Callable[..., nn.Module]


def make_layers(*, train: bool, dtype: DTypeLike, axis_name: str | None) -> tuple[Layer, Layer]:
  """Make the constructors of a network's convolutions and BatchNorms.

  Returns:
    ``convolution(width, size=3, stride=1)``, square and without bias, and ``norm()``, whose
    training statistics are averaged over the mapped axis. Parameters and statistics are float32.
  """

  def convolution(width: int, size: int = 3, stride: int = 1) -> nn.Conv:
    return nn.Conv(
      width,
      kernel_size=(size, size),
      strides=(stride, stride),
      padding=size // 2,  # on every side: "SAME" pads right and bottom only at stride 2
      use_bias=False,
      dtype=dtype,
      kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    )

  norm = partial(
    nn.BatchNorm,
    use_running_average=not train,
    momentum=0.9,
    epsilon=1e-5,
    dtype=dtype,
    axis_name=axis_name,
  )
  return convolution, norm


def spatial_mean(x: jax.Array) -> jax.Array:
  """Return the mean over height and width, shape ``[batch, channels]``, at least float32."""
  # Fused with a bfloat16 convolution, the mean is NaN on jaxlib 0.12.0's CPUs.
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  return jnp.mean(lax.optimization_barrier(x), axis=(1, 2), dtype=dtype)
