"""The registry of objectives: to the rest of the library, an objective is its class."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from isomax_jax import _checks
from isomax_jax._registry import Registry
from isomax_jax.training.objectives.acet import Acet
from isomax_jax.training.objectives.base import ObjectiveConfig
from isomax_jax.training.objectives.classification import Classification
from isomax_jax.training.objectives.fractional_probability import FractionalProbability
from isomax_jax.training.objectives.outlier_exposure import OutlierExposure


class Objectives(Registry[type[ObjectiveConfig]]):
  """The registry of objectives, in which an option has one owner."""

  def register(self, entry: type[ObjectiveConfig]) -> None:
    """Add an objective with ``make``, whose options have defaults and are no other objective's."""
    if not (inspect.isclass(entry) and issubclass(entry, ObjectiveConfig)):
      raise TypeError(f"an objective must be a subclass of ObjectiveConfig, got {entry!r}")
    for attribute in ("name", "label"):
      if not isinstance(getattr(entry, attribute, None), str):
        raise ValueError(f"{entry.__name__} must have a {attribute}, a string")
    if "__dataclass_params__" not in vars(entry):
      raise ValueError(f"objective {entry.name!r} must be a dataclass")
    _checks.count("rows", entry.rows)
    if inspect.isabstract(entry):
      raise ValueError(f"objective {entry.name!r} must have a method make")
    for option, field in _options(entry).items():
      if option in ("name", "label", "rows", "make"):
        raise ValueError(f"objective {entry.name!r}: no option can have the name {option!r}")
      if field.default is dataclasses.MISSING:
        raise ValueError(f"objective {entry.name!r}: option {option!r} must have a default")
    for option, owner in _owners(self.values()).items():
      # Options of this name may be there, as the batches of either have outliers.
      if owner is not entry and option in _options(entry) and option != "outliers":
        raise ValueError(
          f"objective {entry.name!r}: {owner.name} has an option {option!r} already; choose "
          "another name for it"
        )
    super().register(entry)


OBJECTIVES = Objectives(
  "objective",
  type,
  "isomax_jax.training:OBJECTIVES",
  [Classification, FractionalProbability, OutlierExposure, Acet],
)
"""Objectives by name; ``OBJECTIVES.register(...)`` adds a class."""


def create_objective_config(
  name: str = Classification.name, options: Mapping[str, Any] | None = None
) -> ObjectiveConfig:
  """Create the config of an objective.

  Args:
    name: A key of ``OBJECTIVES``.
    options: Values by the options' names. Those of other objectives may be among them, at their
      defaults.

  Returns:
    The config, an instance of the objective's class.

  Raises:
    ValueError: If the name or an option is unknown, another objective's option is not at its
      default, or a value does not pass its check.

  Example:
    >>> create_objective_config("acet", {"steps": 5})
    Acet(epsilon=0.3, steps=5)
  """
  config = OBJECTIVES.find(name, argument="objective.name")
  options = dict(options or {})
  known = _owners(OBJECTIVES.values())
  unknown = sorted(set(options) - set(known))
  if unknown:
    raise ValueError(
      f"unknown options in objective: {', '.join(unknown)}; known: {', '.join(['name', *known])}"
    )
  for option, owner in known.items():
    if option in options and option not in _options(config):
      value = options.pop(option)
      if value != _options(owner)[option].default:
        raise ValueError(
          f"objective.{option} is an option of {owner.name}, got {value!r} with {name}"
        )
  return config(**options)


def _owners(configs: Iterable[type[ObjectiveConfig]]) -> dict[str, type[ObjectiveConfig]]:
  """Return the objective that each option belongs to, the first one of several."""
  owners = {}
  for config in configs:
    for option in _options(config):
      owners.setdefault(option, config)
  return owners


def _options(config: type[ObjectiveConfig]) -> dict[str, dataclasses.Field]:
  return {field.name: field for field in dataclasses.fields(config)}
