"""A trained network, loaded from its run directory."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from isomax_jax import data
from isomax_jax.detectors import Classifier
from isomax_jax.reporting.results import read_decision
from isomax_jax.runs.directory import CHECKPOINTS, DECISION, read_config, read_spec, steps_per_epoch
from isomax_jax.runs.known_set import KnownSet, find_known_set
from isomax_jax.runs.network import make_bind, make_network
from isomax_jax.training import TrainConfig
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.state import initial_variables


class Run(NamedTuple):
  """A trained network and what belongs to it; read its fields by name.

  Attributes:
    config: What it was trained with.
    known: The set that it was trained on, and its known classes.
    classifier: The network: pixels of [0, 1] to outputs; see
      :class:`isomax_jax.detectors.Classifier`.
    variables: Its parameters and statistics.
    decision: Detector, threshold, temperature and class names, as in ``decision.json``; None where
      the run has none.
    checkpoint: Rule that chose the checkpoint, as in records.
    epochs: Epochs of training; of one that has not ended, those before the last checkpoint.
  """

  config: TrainConfig
  known: KnownSet
  classifier: Classifier
  variables: Any
  decision: Mapping[str, Any] | None
  checkpoint: str
  epochs: float


def load(run_dir: str | os.PathLike[str], *, epoch: float | None = None) -> Run:
  """Load the network of a run directory.

  Args:
    run_dir: The run directory.
    epoch: The epoch after which the checkpoint was written, give or take a quarter of one. None
      takes the last one or, where the config selects it, the best.

  Raises:
    ValueError: If the directory is not a run, it names a head or a network that is not registered,
      its training has not got to a checkpoint, that of the epoch is not kept, or a file is damaged.

  Example:
    >>> run = load("runs/digits")  # doctest: +SKIP
    >>> run.classifier.outputs(pixels).logits.shape  # doctest: +SKIP
    (32, 10)
  """
  run_dir = Path(run_dir)
  config = read_config(run_dir)
  known = find_known_set(config, find=lambda name: read_spec(run_dir) or data.get_spec(name))
  network = make_network(config, known)
  # Shapes suffice to restore into: nothing is initialised.
  shapes = jax.eval_shape(
    lambda: initial_variables(network, jax.random.key(0), known.spec.example_shape)
  )
  if not (run_dir / CHECKPOINTS).is_dir():
    raise ValueError(f"{run_dir} has no checkpoint yet: train it first")
  with contextlib.closing(Checkpoints(run_dir / CHECKPOINTS, read_only=True)) as checkpoints:
    last = checkpoints.latest_step()
    if epoch is not None:
      step, rule = _step_of(epoch, run_dir, checkpoints), f"epoch {epoch:g}"
    elif config.optim.select == "best":
      step, rule = checkpoints.best_step(), "best on validation"
    else:
      step, rule = last, "last"
    if step is None or last is None:
      raise ValueError(f"{run_dir} has no checkpoint yet: train it first")
    variables = jax.device_put(checkpoints.restore_variables(shapes, step=step))
  return Run(
    config=config,
    known=known,
    classifier=make_bind(network, known)(variables),
    variables=variables,
    decision=read_decision(run_dir / DECISION) if (run_dir / DECISION).exists() else None,
    checkpoint=rule,
    epochs=_epochs(config, run_dir, last),
  )


def _epochs(config: TrainConfig, run_dir: Path, step: int) -> float:
  """Return the epochs of training before a step, by the log: all of them at the end."""
  whole, per_epoch = config.optim.epochs, steps_per_epoch(run_dir)
  return whole if per_epoch is None or step > per_epoch * whole - 1 else step / per_epoch


def _step_of(epoch: float, run_dir: Path, checkpoints: Checkpoints) -> int:
  """Find the step of the checkpoint that was written after an epoch."""
  per_epoch = steps_per_epoch(run_dir)
  if per_epoch is None:
    raise ValueError(f"{run_dir} has no metrics.jsonl that says which step ended an epoch")
  steps = checkpoints.steps()
  nearest = min(steps, key=lambda step: abs(step - epoch * per_epoch), default=None)
  if nearest is None or not abs(nearest / per_epoch - epoch) <= 0.25:  # NaN is no epoch either.
    kept = ", ".join(f"{step / per_epoch:.4g}" for step in steps) or "none"
    raise ValueError(f"{run_dir} has no checkpoint of epoch {epoch:g}; kept are: {kept}")
  return nearest
