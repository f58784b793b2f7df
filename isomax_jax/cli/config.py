"""The config as options: the short names of some, and what stands for their values in the help."""

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Any

import tyro
from tyro.constructors import (
  ConstructorRegistry,
  StructConstructorSpec,
  StructFieldSpec,
  StructTypeInfo,
)

from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS
from isomax_jax.training import (
  OBJECTIVES,
  DataConfig,
  ModelConfig,
  ObjectiveConfig,
  OptimConfig,
  create_objective_config,
)


class _Data(DataConfig):
  name: Annotated[str, tyro.conf.arg(aliases=("--data",), metavar="SET")]


class _Model(ModelConfig):
  name: Annotated[str, tyro.conf.arg(aliases=("--model",), metavar="NAME")]
  head: Annotated[str, tyro.conf.arg(aliases=("--head",), metavar="NAME")]


class _Optim(OptimConfig):
  epochs: Annotated[int, tyro.conf.arg(aliases=("--epochs",))]


OPTIONS = ConstructorRegistry()
"""What a command that takes a config hands to tyro as its registry."""


@OPTIONS.struct_rule
def _read_options_of(info: StructTypeInfo) -> StructConstructorSpec | None:
  """Take the options of a part of the config from its class above, and make the part itself."""
  annotated = {each.__base__: each for each in (_Data, _Model, _Optim)}.get(info.type)
  if annotated is None:
    return None
  options = ConstructorRegistry.get_struct_spec(dataclasses.replace(info, type=annotated))
  known = {"name": ("Network", MODELS), "head": ("Head", HEADS)} if annotated is _Model else {}
  fields = tuple(
    dataclasses.replace(field, helptext=_listed(*known[field.name]))
    if field.name in known
    else field
    for field in options.fields
  )
  return dataclasses.replace(options, fields=fields, instantiate=info.type)


@OPTIONS.struct_rule
def _read_objective(info: StructTypeInfo) -> StructConstructorSpec | None:
  """Take the options of all objectives side by side, and make the config of the one that is named.

  It is the one that a config has by default; an objective's own options are those of its class.
  """
  if not isinstance(info.default, ObjectiveConfig):
    return None
  name = Annotated[str, tyro.conf.arg(aliases=("--objective",), metavar="NAME")]
  help_of_name = _listed("Objective", OBJECTIVES)
  fields = [StructFieldSpec("name", name, info.default.name, help_of_name)]
  for owner in OBJECTIVES.values():
    defaults = {field.name: field.default for field in dataclasses.fields(owner)}
    own = dataclasses.replace(info, type=owner, default=tyro.MISSING)
    for field in ConstructorRegistry.get_struct_spec(own).fields:
      text = field.helptext() if callable(field.helptext) else field.helptext or ""
      kind = field.type
      if field.name == "outliers":
        kind = Annotated[kind, tyro.conf.arg(metavar="SET")]
      text = f"{owner.name}: {text[:1].lower()}{text[1:]}"
      fields.append(
        dataclasses.replace(field, type=kind, helptext=text, default=defaults[field.name])
      )

  def instantiate(name: str, **options: Any) -> ObjectiveConfig:
    return create_objective_config(name, options)

  return StructConstructorSpec(instantiate, tuple(fields))


def _listed(kind: str, names: Iterable[str]) -> str:
  *others, last = names
  return f"{kind}: {', '.join(others)} or {last}."
