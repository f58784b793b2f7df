"""The configuration of a run: frozen dataclasses that check their values.

``data``, ``model``, ``objective``, ``optim`` and ``seed`` determine the result, ``run`` only how it
is computed: a run may be resumed with another ``run``, but the rest must be the same.
"""

import dataclasses
from typing import Any, Literal, get_type_hints

from isomax_jax import _checks
from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS
from isomax_jax.models.registry import check_zero_init_residual
from isomax_jax.training.objectives.base import ObjectiveConfig
from isomax_jax.training.objectives.classification import Classification
from isomax_jax.training.objectives.registry import create_objective_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
  """The training set, and how its images are prepared."""

  name: str = "mnist_5k"
  """Set, maybe with the classes to keep: mnist_5k or mnist_5k:0-7."""
  validation: float = 0.1
  """Fraction of the training images kept out of training, to choose threshold and temperature."""
  crop_padding: int | None = None
  """Zero pixels added on each side before the random crop. None: the set's own."""
  flip: bool | None = None
  """Whether images are mirrored at random. None: the set's own."""

  def __post_init__(self):
    if not 0 <= self.validation < 1:
      raise ValueError(f"data.validation must be in [0, 1), got {self.validation}")
    if self.crop_padding is not None and self.crop_padding < 0:
      raise ValueError(f"data.crop_padding must not be negative, got {self.crop_padding}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """The network and its head."""

  name: str = "small_cnn"
  """Network."""
  head: str = "isomax"
  """Head."""
  entropic_scale: float | None = None
  """Factor of the logits in training only. None: the head's own, 10 for distances."""
  dtype: Literal["float32", "bfloat16"] = "float32"
  """Dtype of the computation; parameters, statistics, head and loss stay float32."""
  zero_init_residual: bool = False
  """resnet34, resnet_small: the last BatchNorm scale of every residual block starts at zero."""

  def __post_init__(self):
    MODELS.find(self.name, argument="model.name")
    HEADS.find(self.head, argument="model.head")
    _checks.one_of("model.dtype", self.dtype, ("float32", "bfloat16"))
    if self.zero_init_residual:
      check_zero_init_residual("model.zero_init_residual", self.name)
    object.__setattr__(self, "entropic_scale", self.training_scale)
    _checks.positive("model.entropic_scale", self.entropic_scale)

  @property
  def training_scale(self) -> float:
    """The entropic scale, which is the head's own where None was given."""
    scale = self.entropic_scale
    return HEADS[self.head].entropic_scale if scale is None else scale


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
  """Stochastic gradient descent with Nesterov momentum, as the paper's authors train."""

  epochs: int = 300
  """Passes over the training images."""
  batch_size: int = 64
  """Images a step, over all devices together."""
  accumulate: int = 1
  """Parts of a batch whose gradients are taken one after the other, if it does not fit at once."""
  learning_rate: float = 0.1
  """Step size at the start."""
  decay: float = 0.1
  """Factor of the step size at each milestone."""
  milestones: tuple[float, ...] = (1 / 2, 2 / 3, 5 / 6)
  """Where the step size decays, as fractions of the run."""
  momentum: float = 0.9
  """Nesterov momentum."""
  weight_decay: float = 1e-4
  """Decay of every parameter, BatchNorm's and the prototypes too."""
  select: Literal["last", "best"] = "last"
  """Weights to end with: the last, or those of highest accuracy on the validation images."""

  def __post_init__(self):
    for name in ("epochs", "batch_size", "learning_rate", "decay"):
      _checks.positive(f"optim.{name}", getattr(self, name))
    _checks.count("optim.accumulate", self.accumulate)
    if not 0 <= self.momentum < 1:
      raise ValueError(f"optim.momentum must be in [0, 1), got {self.momentum}")
    _checks.not_negative("optim.weight_decay", self.weight_decay)
    if not all(0 < milestone < 1 for milestone in self.milestones):
      raise ValueError(f"optim.milestones must be in (0, 1), got {self.milestones}")
    _checks.one_of("optim.select", self.select, ("last", "best"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
  """How the run is computed, logged and kept; none of it changes what is learnt."""

  strategy: Literal["auto", "pmap", "sharded"] = "auto"
  """How a step is spread over devices. auto: pmap on several, sharded on one."""
  steps_per_dispatch: int | None = None
  """Steps in one program. None: 1 on CPU; else the run's largest divisor from 32 to 128, or 100."""
  pipeline: Literal["auto", "resident", "stream"] = "auto"
  """Whether images stay on the device or are read from disk. auto: resident below 1 GiB."""
  workers: int = 0
  """Processes that read where images are read from disk. 0: threads of this one."""
  log_epochs: float = 1.0
  """Epochs between lines of metrics.jsonl."""
  validate_epochs: float = 10.0
  """Epochs between validations."""
  checkpoint_epochs: float = 10.0
  """Epochs between checkpoints; one more is written at the end."""
  checkpoint_minutes: float | None = 10.0
  """Minutes without a checkpoint after which one is written all the same. None: never."""
  checkpoints_kept: int = 2
  """How many of the last checkpoints stay on disk."""
  tensorboard: bool = False
  """Also write TensorBoard events."""

  def __post_init__(self):
    _checks.one_of("run.strategy", self.strategy, ("auto", "pmap", "sharded"))
    _checks.one_of("run.pipeline", self.pipeline, ("auto", "resident", "stream"))
    if not self.workers >= 0:
      raise ValueError(f"run.workers must not be negative, got {self.workers}")
    for name in ("log_epochs", "validate_epochs", "checkpoint_epochs", "checkpoints_kept"):
      _checks.positive(f"run.{name}", getattr(self, name))
    for name in ("steps_per_dispatch", "checkpoint_minutes"):
      if getattr(self, name) is not None:
        _checks.positive(f"run.{name}", getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """One training run."""

  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  """The training set."""
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  """The network."""
  objective: ObjectiveConfig = dataclasses.field(default_factory=Classification)
  """What is minimised; docs/method.md explains each."""
  optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
  """The optimiser."""
  run: RunConfig = dataclasses.field(default_factory=RunConfig)
  """How it is computed, logged and kept."""
  seed: int = 0
  """Seed of initialisation, validation split, order and augmentation."""

  def __post_init__(self):
    if not 0 <= self.seed < 2**32:
      raise ValueError(f"seed must be in [0, 2**32), got {self.seed}")
    if self.optim.select == "best" and not self.data.validation:
      raise ValueError("optim.select best needs validation images, got data.validation 0")


def to_json(config: TrainConfig) -> dict[str, Any]:
  """Return the config as nested dictionaries of plain values.

  Example:
    >>> to_json(TrainConfig())["model"]["head"]
    'isomax'
  """
  values = dataclasses.asdict(config)
  return {**values, "objective": {"name": config.objective.name, **values["objective"]}}


def from_json(values: dict[str, Any]) -> TrainConfig:
  """Make a config from what :func:`to_json` returned.

  The objective may hold the options of all others at their defaults, as in older configs.

  Raises:
    ValueError: If a section or an option is unknown, or a value does not pass its check.

  Example:
    >>> from_json({"model": {"head": "softmax"}}).model.entropic_scale
    1.0
  """
  types = get_type_hints(TrainConfig)
  arguments = {
    name: _read(name, value, types[name]) if dataclasses.is_dataclass(types.get(name)) else value
    for name, value in values.items()
  }
  return _read("config", arguments, TrainConfig)


def _read(name: str, values: Any, cls: type) -> Any:
  """Make a section from its values, and check their types."""
  if not isinstance(values, dict):
    raise ValueError(f"{name} must be an object, got {values!r}")
  values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
  try:
    if cls is ObjectiveConfig:
      objective = values.pop("name", Classification.name)
      _checks.typed("objective.name", objective, str)
      section = create_objective_config(objective, values)
    else:
      known = [field.name for field in dataclasses.fields(cls)]
      unknown = sorted(set(values) - set(known))
      if unknown:
        raise ValueError(
          f"unknown options in {name}: {', '.join(unknown)}; known: {', '.join(known)}"
        )
      section = cls(**values)
  except TypeError as error:
    raise ValueError(f"{name} holds a value of the wrong type: {error}") from error
  expected = get_type_hints(type(section))
  for field in dataclasses.fields(section):
    _checks.typed(f"{name}.{field.name}", getattr(section, field.name), expected[field.name])
  return section


def differences(config: TrainConfig, other: TrainConfig) -> list[str]:
  """List the options, other than of ``run``, in which two configs differ.

  Example:
    >>> differences(TrainConfig(), TrainConfig(seed=1))
    ['seed: 0 != 1']
  """
  lines = []
  ours, theirs = to_json(config), to_json(other)
  for section in ("data", "model", "objective", "optim"):
    for option, a in ours[section].items():
      # Options that only one of two objectives has are left out: their names differ already.
      if option in theirs[section] and a != (b := theirs[section][option]):
        lines.append(f"{section}.{option}: {a!r} != {b!r}")
  if config.seed != other.seed:
    lines.append(f"seed: {config.seed} != {other.seed}")
  return lines
