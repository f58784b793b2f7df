"""The network of a config, and its classifier for detectors."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.tree_util import Partial

from isomax_jax.detectors import Classifier
from isomax_jax.models import create_model
from isomax_jax.runs.known_set import KnownSet
from isomax_jax.training import TrainConfig


def make_network(
  config: TrainConfig, known: KnownSet, *, axis_name: str | None = None
) -> nn.Module:
  """Create the config's network for the known classes."""
  return create_model(
    config.model.name,
    len(known.class_names),
    head=config.model.head,
    dtype=jnp.dtype(config.model.dtype),
    axis_name=axis_name,
    zero_init_residual=config.model.zero_init_residual,
  )


def make_bind(network: nn.Module, known: KnownSet) -> Callable[[Any], Classifier]:
  """Make the function of a network's variables to a classifier.

  All its classifiers share their functions, and so the compiled programs.
  """

  def outputs(variables, pixels):
    return network.apply(variables, known.preprocessing.normalize(pixels), train=False)

  def head(params, features):
    return network.head.apply({"params": params}, features)

  return lambda variables: Classifier(
    outputs=Partial(outputs, variables), head=Partial(head), head_params=variables["params"]["head"]
  )
