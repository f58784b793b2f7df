"""What follows from a config: the set, the network and how images get into it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from isomax_jax import data
from isomax_jax.models import create_model
from isomax_jax.training import TrainConfig
from isomax_jax.typing import Batch, Outputs

Forward = Callable[[Any, jax.Array], Outputs]


class Setup(NamedTuple):
  """The pieces that a config names.

  Attributes:
    reference: The known set and its known classes.
    spec: What is known of the set.
    class_names: Names of the known classes, by label.
    normalize: Pixels of [0, 1] to the network's input.
    prepare: Random key and stored batch to the network's input, augmented.
  """

  reference: data.Reference
  spec: data.DataSpec
  class_names: tuple[str, ...]
  normalize: Callable[[jax.Array], jax.Array]
  prepare: Callable[[jax.Array, Batch], jax.Array]


def make_setup(
  config: TrainConfig, *, find: Callable[[str], data.DataSpec] = data.get_spec
) -> Setup:
  """Look up what a config names.

  Args:
    config: The config.
    find: Function of a set's name to its description.

  Raises:
    ValueError: If the set or a class is unknown, or the set is no training set.
  """
  reference = data.parse_reference(config.data.name, find=find)
  spec = find(reference.name)
  if "train" not in spec.splits:
    trainable = ", ".join(name for name, other in data.SPECS.items() if "train" in other.splits)
    raise ValueError(f"{spec.name} has no images to train on; sets that have: {trainable}")
  classes = range(len(spec.class_names)) if reference.classes is None else reference.classes
  padding = spec.crop_padding if config.data.crop_padding is None else config.data.crop_padding
  flip = spec.flip if config.data.flip is None else config.data.flip
  normalize = data.normalizer(spec)
  return Setup(
    reference=reference,
    spec=spec,
    class_names=tuple(spec.class_names[label] for label in classes),
    normalize=normalize,
    prepare=partial(_prepare, normalize=normalize, padding=padding, flip=flip),
  )


def _prepare(key, batch, *, normalize, padding, flip):
  keys = data.example_keys(key, batch.positions)
  images = batch.images
  if padding:
    images = data.random_crop(keys, images, padding=padding)
  if flip:
    images = data.random_flip(keys, images)
  return normalize(data.to_pixels(images))


def make_model(config: TrainConfig, setup: Setup, *, axis_name: str | None = None) -> nn.Module:
  """Create the config's network for the set's classes."""
  return create_model(
    config.model.name,
    len(setup.class_names),
    head=config.model.head,
    dtype=jnp.dtype(config.model.dtype),
    axis_name=axis_name,
    zero_init_residual=config.model.zero_init_residual,
  )


def make_forward(model: nn.Module, setup: Setup) -> Forward:
  """Make the jitted forward pass of inference: variables and stored images to outputs."""

  @jax.jit
  def forward(variables, images):
    return model.apply(variables, setup.normalize(data.to_pixels(images)), train=False)

  return forward
