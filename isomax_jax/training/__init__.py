"""Training: configuration, objectives, the training step, checkpoints and the loop."""

from isomax_jax.training.config import DataConfig as DataConfig
from isomax_jax.training.config import ModelConfig as ModelConfig
from isomax_jax.training.config import OptimConfig as OptimConfig
from isomax_jax.training.config import RunConfig as RunConfig
from isomax_jax.training.config import TrainConfig as TrainConfig
from isomax_jax.training.config import differences as differences
from isomax_jax.training.config import from_json as from_json
from isomax_jax.training.config import to_json as to_json
from isomax_jax.training.objectives._noise import low_frequency_noise as low_frequency_noise
from isomax_jax.training.objectives.acet import Acet as Acet
from isomax_jax.training.objectives.acet import adversarial_confidence as adversarial_confidence
from isomax_jax.training.objectives.base import Losses as Losses
from isomax_jax.training.objectives.base import Network as Network
from isomax_jax.training.objectives.base import Objective as Objective
from isomax_jax.training.objectives.base import ObjectiveConfig as ObjectiveConfig
from isomax_jax.training.objectives.classification import Classification as Classification
from isomax_jax.training.objectives.classification import classification as classification
from isomax_jax.training.objectives.fractional_probability import (
  FractionalProbability as FractionalProbability,
)
from isomax_jax.training.objectives.fractional_probability import (
  fractional_probability as fractional_probability,
)
from isomax_jax.training.objectives.outlier_exposure import OutlierExposure as OutlierExposure
from isomax_jax.training.objectives.outlier_exposure import exposure as exposure
from isomax_jax.training.objectives.registry import OBJECTIVES as OBJECTIVES
from isomax_jax.training.objectives.registry import (
  create_objective_config as create_objective_config,
)
from isomax_jax.training.state import TrainState as TrainState
from isomax_jax.training.state import create_state as create_state
from isomax_jax.training.step import train_step as train_step
