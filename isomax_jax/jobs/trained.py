"""A trained network, ready to predict: from the training job, or from a run directory."""

import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import Partial

from isomax_jax import _checks, data
from isomax_jax._files import naming, read_json, read_json_lines
from isomax_jax.detectors import Classifier
from isomax_jax.evaluation.benchmark import ScoredSet
from isomax_jax.evaluation.predict import predict
from isomax_jax.heads import HEADS
from isomax_jax.jobs.setup import Forward, Setup, make_forward, make_model, make_setup
from isomax_jax.training import TrainConfig, from_json
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.state import initial_variables

# In a run directory, the description of the set that it was trained on: enough to predict where
# the set itself is not.
SPEC_FILE = "data.json"
BEST = "best on validation"


class Trained(NamedTuple):
  """A trained network.

  Attributes:
    config: What it was trained with.
    setup: What follows from the config.
    variables: Parameters and statistics.
    forward: Jitted function of variables and stored images to outputs.
    checkpoint: Rule that chose the checkpoint, as records give it.
    step: Step after which the checkpoint was written; None where there is none.
    run_dir: The run directory; None where there is none.
  """

  config: TrainConfig
  setup: Setup
  variables: Any
  forward: Forward
  checkpoint: str = "last"
  step: int | None = None
  run_dir: Path | None = None

  @property
  def epochs(self) -> float:
    """Epochs of training; of one that has not ended, those before its last checkpoint."""
    whole = self.config.optim.epochs
    if self.run_dir is None or self.checkpoint != "last":
      return whole
    steps_per_epoch = _steps_per_epoch(self.run_dir)
    at_the_end = steps_per_epoch is None or self.step > steps_per_epoch * whole - 1
    return whole if at_the_end else self.step / steps_per_epoch

  @property
  def classifier(self) -> Classifier:
    """The network as detectors see it."""
    model = make_model(self.config, self.setup)
    head = HEADS[self.config.model.head](num_classes=len(self.setup.class_names))
    return Classifier(
      outputs=Partial(
        lambda variables, pixels: model.apply(variables, self.setup.normalize(pixels), train=False),
        self.variables,
      ),
      head=Partial(lambda params, features: head.apply({"params": params}, features)),
      head_params=self.variables["params"]["head"],
    )

  def score(self, images: np.ndarray, labels: np.ndarray) -> ScoredSet:
    """Send stored images, with their labels, through the network once."""
    return ScoredSet(images, labels, predict(self.forward, self.variables, images))


def load_trained(run_dir: str | os.PathLike[str], *, epoch: float | None = None) -> Trained:
  """Load the network of a run directory.

  Args:
    run_dir: The run directory.
    epoch: The epoch after which the checkpoint was written, give or take a quarter of one. None
      takes the last one or, where the config selects it, the best.

  Returns:
    The network.

  Raises:
    ValueError: If the directory is not a run, its training has not got to a checkpoint, that of
      the epoch is not kept, or the checkpoint is damaged.
  """
  run_dir = Path(run_dir)
  config = read_config(run_dir)
  setup = make_setup(config, find=lambda name: read_spec(run_dir) or data.get_spec(name))
  model = make_model(config, setup)
  # Shapes suffice to restore into: nothing is initialised.
  shapes = jax.eval_shape(
    lambda: initial_variables(model, jax.random.key(0), setup.spec.image_shape)
  )
  if not (run_dir / "checkpoints").is_dir():
    raise ValueError(f"{run_dir} has no checkpoint yet: train it first")
  with contextlib.closing(Checkpoints(run_dir / "checkpoints", read_only=True)) as checkpoints:
    if epoch is not None:
      step, rule = _step_of(epoch, run_dir, checkpoints), f"epoch {epoch:g}"
    elif config.optim.select == "best":
      step, rule = checkpoints.best_step(), BEST
    else:
      step, rule = checkpoints.latest_step(), "last"
    if step is None:
      raise ValueError(f"{run_dir} has no checkpoint yet: train it first")
    variables = jax.device_put(checkpoints.restore_variables(shapes, step=step))
  return Trained(config, setup, variables, make_forward(model, setup), rule, step, run_dir)


def _step_of(epoch: float, run_dir: Path, checkpoints: Checkpoints) -> int:
  """Find the step of the checkpoint that was written after an epoch."""
  steps_per_epoch = _steps_per_epoch(run_dir)
  if steps_per_epoch is None:
    raise ValueError(f"{run_dir} has no metrics.jsonl that says which step ended an epoch")
  steps = checkpoints.steps()
  nearest = min(steps, key=lambda step: abs(step - epoch * steps_per_epoch), default=None)
  if nearest is None or abs(nearest / steps_per_epoch - epoch) > 0.25:
    kept = ", ".join(f"{step / steps_per_epoch:.4g}" for step in steps) or "none"
    raise ValueError(f"{run_dir} has no checkpoint of epoch {epoch:g}; kept are: {kept}")
  return nearest


def _steps_per_epoch(run_dir: Path) -> float | None:
  """Return the steps of an epoch as the log counts them; None where nothing was logged."""
  path = run_dir / "metrics.jsonl"
  logged = next(iter(read_json_lines(path)), None) if path.exists() else None
  if logged is None:
    return None
  with naming(path):
    for key in ("step", "epoch"):
      _checks.positive(key, logged.get(key))
  return logged["step"] / logged["epoch"]


def read_spec(run_dir: Path) -> data.DataSpec | None:
  """Read the description that a run keeps of its set, if it keeps one.

  Raises:
    ValueError: If it cannot be read.
  """
  path = run_dir / SPEC_FILE
  if not path.exists():
    return None
  values = read_json(path)
  with naming(path):
    return data.spec_from_json(values)


def read_config(run_dir: Path) -> TrainConfig:
  """Read the config of a run directory.

  Raises:
    ValueError: If the directory is not a run, or its config cannot be read.
  """
  path = run_dir / "config.json"
  if not path.is_file():
    raise ValueError(f"{run_dir} is not a run directory: config.json is missing")
  values = read_json(path)
  with naming(path):
    return from_json(values)
