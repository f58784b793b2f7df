"""The registry of networks, and their creation with a head."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from isomax_jax import _checks
from isomax_jax._registry import Registry
from isomax_jax.heads import HEADS
from isomax_jax.models.densenet import DenseNetBC100
from isomax_jax.models.resnet import ResNet34, ResNetSmall
from isomax_jax.models.small_cnn import SmallCNN
from isomax_jax.models.wide_resnet import WideResNet28x10


class NetworkEntry(NamedTuple):
  """The record of a network.

  Attributes:
    name: Name in configs and records.
    make: Constructor of the Linen module, ``make(head=..., dtype=..., axis_name=...)``; see
      :func:`create_model` for its arguments and its result.
    label: Name in tables.
  """

  name: str
  make: Callable[..., nn.Module]
  label: str

  @property
  def has_zero_init_residual(self) -> bool:
    """Whether it has the option ``zero_init_residual``."""
    return "zero_init_residual" in inspect.signature(self.make).parameters


MODELS = Registry(
  "model",
  NetworkEntry,
  "isomax_jax.models:MODELS",
  [
    NetworkEntry("small_cnn", SmallCNN, "small CNN"),
    NetworkEntry("resnet_small", ResNetSmall, "small ResNet"),
    NetworkEntry("resnet34", ResNet34, "ResNet-34"),
    NetworkEntry("densenet_bc_100", DenseNetBC100, "DenseNet-BC-100"),
    NetworkEntry("wide_resnet_28_10", WideResNet28x10, "WideResNet-28-10"),
  ],
)
"""Networks by name; ``MODELS.register(NetworkEntry(...))`` adds one."""


def create_model(
  name: str,
  num_classes: int,
  *,
  head: str = "isomax",
  dtype: DTypeLike = jnp.float32,
  axis_name: str | None = None,
  zero_init_residual: bool = False,
) -> nn.Module:
  """Create a network with a head.

  A network keeps its head under the name ``head``, and returns :class:`isomax_jax.typing.Outputs`,
  whose logits are the head's of the features.

  Args:
    name: A key of ``MODELS``.
    num_classes: Number of classes.
    head: A key of ``isomax_jax.heads.HEADS``.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which BatchNorm averages its training statistics, if any.
    zero_init_residual: Whether the last BatchNorm scale of every residual block starts at zero.

  Returns:
    A Linen module; ``model.apply(variables, images, train=False)`` returns ``Outputs``.

  Raises:
    ValueError: If a name is unknown, the number of classes not positive, or the network has no
      blocks that end in BatchNorm and ``zero_init_residual`` is set.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> model = create_model("small_cnn", num_classes=8)
    >>> images = jnp.zeros((5, 28, 28, 1))
    >>> outputs, variables = jax.eval_shape(  # Shapes alone.
    ...     lambda: model.init_with_output(jax.random.key(0), images, train=False))
    >>> outputs.logits.shape, outputs.features.shape
    ((5, 8), (5, 64))
  """
  network, head_entry = MODELS.find(name), HEADS.find(head)
  _checks.positive("num_classes", num_classes)
  options = {}
  if zero_init_residual:
    check_zero_init_residual("zero_init_residual", name)
    options["zero_init_residual"] = True
  return network.make(
    head=head_entry.linen(num_classes=num_classes), dtype=dtype, axis_name=axis_name, **options
  )


def check_zero_init_residual(argument: str, name: str) -> None:
  """Raise ValueError, naming the argument, unless a network has ``zero_init_residual``."""
  if not MODELS[name].has_zero_init_residual:
    known = [each for each, network in sorted(MODELS.items()) if network.has_zero_init_residual]
    raise ValueError(
      f"{argument} needs residual blocks that end in BatchNorm, as {' and '.join(known)} have, "
      f"got {name}"
    )
