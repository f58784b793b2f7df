"""Options of the training config: their short names, and their values' names in the help."""

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
"""The registry for tyro of a command that takes a config."""


@OPTIONS.struct_rule
def _options_of_part(info: StructTypeInfo) -> StructConstructorSpec | None:
  """Take a part's options from its annotated class above, and make the part itself."""
  annotated = {each.__base__: each for each in (_Data, _Model, _Optim)}.get(info.type)
  if annotated is None:
    return None
  options = _spec(dataclasses.replace(info, type=annotated))
  known = {"name": ("Network", MODELS), "head": ("Head", HEADS)} if annotated is _Model else {}
  fields = tuple(
    dataclasses.replace(field, helptext=_listed(*known[field.name]))
    if field.name in known
    else field
    for field in options.fields
  )
  return dataclasses.replace(options, fields=fields, instantiate=info.type)


@OPTIONS.struct_rule
def _options_of_objective(info: StructTypeInfo) -> StructConstructorSpec | None:
  """Offer the options of all objectives, and make the config of the one that is named."""
  if not isinstance(info.default, ObjectiveConfig):
    return None
  name: Any = Annotated[str, tyro.conf.arg(aliases=("--objective",), metavar="NAME")]
  help_of_name = _listed("Objective", OBJECTIVES)
  fields = [StructFieldSpec("name", name, info.default.name, help_of_name)]
  for owner in OBJECTIVES.values():
    defaults = {field.name: field.default for field in dataclasses.fields(owner)}
    own = dataclasses.replace(info, type=owner, default=tyro.MISSING)
    for field in _spec(own).fields:
      if field.name in {each.name for each in fields}:
        continue  # Several objectives may have the option ``outliers``.
      text = field.helptext if isinstance(field.helptext, str | None) else field.helptext()
      text = text or ""
      text = f"{owner.name}: {text[:1].lower()}{text[1:]}"
      kind = field.type
      if field.name == "outliers":
        kind = Annotated[kind, tyro.conf.arg(metavar="SET")]
      default = defaults[field.name]
      fields.append(dataclasses.replace(field, type=kind, helptext=text, default=default))
  return StructConstructorSpec(
    lambda name, **options: create_objective_config(name, options), tuple(fields)
  )


def _spec(info: StructTypeInfo) -> StructConstructorSpec:
  spec = ConstructorRegistry.get_struct_spec(info)
  if not isinstance(spec, StructConstructorSpec):
    raise TypeError(f"{info.type} has no options: {spec}")
  return spec


def _listed(kind: str, names: Iterable[str]) -> str:
  *others, last = names
  return f"{kind}: {', '.join(others)} or {last}."
