"""Networks by name. A new one is a file beside this one and a line in the table."""

import inspect

import flax.linen as nn
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.heads import HEADS
from isomax_jax.models.densenet import DenseNetBC100
from isomax_jax.models.resnet import ResNet34, ResNetSmall
from isomax_jax.models.small_cnn import SmallCNN
from isomax_jax.models.wide_resnet import WideResNet28x10

MODELS = {
  "densenet_bc_100": DenseNetBC100,
  "resnet34": ResNet34,
  "resnet_small": ResNetSmall,
  "small_cnn": SmallCNN,
  "wide_resnet_28_10": WideResNet28x10,
}


def create_model(
  name: str,
  num_classes: int,
  *,
  head: str = "isomax",
  dtype: jnp.dtype = jnp.float32,
  axis_name: str | None = None,
  zero_init_residual: bool = False,
) -> nn.Module:
  """Create a network with a head of the given name.

  Args:
    name: A key of ``MODELS``.
    num_classes: Number of classes.
    head: A key of ``isomax_jax.heads.HEADS``.
    dtype: Dtype of the computation; parameters, statistics and head stay float32.
    axis_name: Mapped axis over which BatchNorm averages its training statistics, if any.
    zero_init_residual: Whether the last BatchNorm scale of every residual block starts at zero.

  Returns:
    A Linen module; ``model.apply(variables, images, train=False)`` gives ``Outputs``.

  Raises:
    ValueError: If a name is unknown, the number of classes not positive, or the network has no
      blocks that end in BatchNorm and ``zero_init_residual`` is set.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> model = create_model("small_cnn", num_classes=8)
    >>> images = jnp.zeros((5, 28, 28, 1))
    >>> outputs, variables = jax.eval_shape(  # Shapes alone; model.init and apply compute.
    ...     lambda: model.init_with_output(jax.random.key(0), images, train=False))
    >>> outputs.logits.shape, outputs.features.shape
    ((5, 8), (5, 64))
  """
  _checks.one_of("model", name, MODELS)
  _checks.one_of("head", head, HEADS)
  _checks.positive("num_classes", num_classes)
  options = {}
  if zero_init_residual:
    check_zero_init_residual("zero_init_residual", name)
    options["zero_init_residual"] = True
  return MODELS[name](
    head=HEADS[head](num_classes=num_classes), dtype=dtype, axis_name=axis_name, **options
  )


def check_zero_init_residual(argument: str, name: str) -> None:
  """Raise ValueError, naming the argument that is set, unless a network has the option."""
  known = [
    each
    for each, make in sorted(MODELS.items())
    if "zero_init_residual" in inspect.signature(make).parameters
  ]
  if name not in known:
    raise ValueError(
      f"{argument} needs residual blocks that end in BatchNorm, as {' and '.join(known)} have, "
      f"got {name}"
    )
