"""The config as options: the short names of some, and what stands for their values in the help."""

import dataclasses
from typing import Annotated

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from isomax_jax.training import DataConfig, ModelConfig, ObjectiveConfig, OptimConfig


class _Data(DataConfig):
  name: Annotated[str, tyro.conf.arg(aliases=("--data",), metavar="SET")]


class _Model(ModelConfig):
  name: Annotated[str, tyro.conf.arg(aliases=("--model",), metavar="NAME")]
  head: Annotated[str, tyro.conf.arg(aliases=("--head",), metavar="NAME")]


class _Objective(ObjectiveConfig):
  name: Annotated[str, tyro.conf.arg(aliases=("--objective",), metavar="NAME")]
  outliers: Annotated[str | None, tyro.conf.arg(metavar="SET")]


class _Optim(OptimConfig):
  epochs: Annotated[int, tyro.conf.arg(aliases=("--epochs",))]


OPTIONS = ConstructorRegistry()
"""What a command that takes a config hands to tyro as its registry."""


@OPTIONS.struct_rule
def _read_options_of(info: StructTypeInfo) -> StructConstructorSpec | None:
  """Take the options of a part of the config from its class above, and make the part itself."""
  annotated = {each.__base__: each for each in (_Data, _Model, _Objective, _Optim)}.get(info.type)
  if annotated is None:
    return None
  options = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, type=annotated))
  return dataclasses.replace(options, instantiate=info.type)
