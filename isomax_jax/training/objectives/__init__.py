"""Objectives: what a step minimises, one file a method with its function and its options."""

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
