"""A trained network, ready to predict: from the training job, or from a run directory."""

import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax import data
from isomax_jax._files import read_json
from isomax_jax.detectors import Classifier
from isomax_jax.evaluation.benchmark import ScoredSet
from isomax_jax.evaluation.predict import predict
from isomax_jax.heads import HEADS
from isomax_jax.jobs.setup import Forward, Setup, make_forward, make_model, make_setup
from isomax_jax.training import TrainConfig, create_state, from_json
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.optim import sgd

# In a run directory, the description of the set that it was trained on: enough to predict where
# the set itself is not.
SPEC_FILE = "data.json"


class Trained(NamedTuple):
  """A trained network.

  Attributes:
    config: What it was trained with.
    setup: What follows from the config.
    variables: Parameters and statistics.
    forward: Jitted function of variables and stored images to outputs.
  """

  config: TrainConfig
  setup: Setup
  variables: Any
  forward: Forward

  @property
  def classifier(self) -> Classifier:
    """The network as detectors see it."""
    model = make_model(self.config, self.setup)
    head = HEADS[self.config.model.head](num_classes=len(self.setup.class_names))
    return Classifier(
      outputs=lambda pixels: model.apply(self.variables, self.setup.normalize(pixels), train=False),
      head=lambda params, features: head.apply({"params": params}, features),
      head_params=self.variables["params"]["head"],
    )

  def score(self, images: np.ndarray, labels: np.ndarray) -> ScoredSet:
    """Send stored images, with their labels, through the network once."""
    return ScoredSet(images, labels, predict(self.forward, self.variables, images))


def load_trained(run_dir: str | os.PathLike[str]) -> Trained:
  """Load the network of a run directory from its last checkpoint.

  Args:
    run_dir: The run directory.

  Returns:
    The network.

  Raises:
    ValueError: If the directory is not a run, or its training has not got to a checkpoint.
  """
  run_dir = Path(run_dir)
  config = read_config(run_dir)
  setup = make_setup(config, find=lambda name: read_spec(run_dir) or data.get_spec(name))
  model = make_model(config, setup)
  # Shapes suffice to restore into: nothing is initialised.
  state = jax.eval_shape(
    lambda: create_state(
      model, sgd(config.optim, total_steps=1), jax.random.key(0), setup.spec.image_shape
    )
  )
  if not (run_dir / "checkpoints").is_dir():
    raise ValueError(f"{run_dir} has no checkpoint yet: train it first")
  with contextlib.closing(Checkpoints(run_dir / "checkpoints", kept=None)) as checkpoints:
    state, _ = checkpoints.restore(state)
  return Trained(config, setup, state.variables, make_forward(model, setup))


def read_spec(run_dir: Path) -> data.DataSpec | None:
  """Read the description that a run keeps of its set, if it keeps one.

  Raises:
    ValueError: If it cannot be read.
  """
  path = run_dir / SPEC_FILE
  if not path.exists():
    return None
  values = read_json(path)
  try:
    return data.spec_from_json(values)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error


def read_config(run_dir: Path) -> TrainConfig:
  """Read the config of a run directory.

  Raises:
    ValueError: If the directory is not a run, or its config cannot be read.
  """
  path = run_dir / "config.json"
  if not path.is_file():
    raise ValueError(f"{run_dir} is not a run directory: config.json is missing")
  values = read_json(path)
  try:
    return from_json(values)
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
