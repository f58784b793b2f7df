"""Training into a run directory, resumed where an earlier run stopped."""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from isomax_jax import data
from isomax_jax._devices import job_devices
from isomax_jax._files import naming, write_atomically
from isomax_jax.decision import choose_threshold
from isomax_jax.detectors import DETECTORS, Classifier, create_detector
from isomax_jax.evaluation.measure import VALIDATION, Fitted, pass_through, score_sets
from isomax_jax.evaluation.predict import forward, predict
from isomax_jax.heads import HEADS
from isomax_jax.metrics import accuracy, fit_temperature, negative_log_likelihood
from isomax_jax.runs.directory import CHECKPOINTS, DECISION, METRICS, json_bytes, open_directory
from isomax_jax.runs.known_set import KnownSet, find_known_set, find_splits, make_pipeline
from isomax_jax.runs.network import make_bind, make_network
from isomax_jax.scores import entropic_score
from isomax_jax.training import TrainConfig, TrainState, create_state, loop
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.devices import check_devices, find_axis, spread
from isomax_jax.training.interruption import Interruption, listen
from isomax_jax.training.log import Log, Tally
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.training.processes import Preemption
from isomax_jax.training.schedule import make_schedule
from isomax_jax.training.writers import JsonLinesWriter, TensorBoardWriter, Writer
from isomax_jax.typing import Device

TPR = 0.95


def train(
  config: TrainConfig,
  workdir: str | os.PathLike[str],
  *,
  data_dir: str | os.PathLike[str] | None = None,
  fresh: bool = False,
  progress: Callable[[int], Writer] | None = None,
  interruption: Interruption | None = None,
) -> None:
  """Train to the end of the config's schedule and choose the threshold.

  An unfinished run of the same config in the directory is resumed, a finished one left as it is.
  A surrounding ``jax.default_device`` is the one device that is used.

  Args:
    config: What to train.
    workdir: The run directory.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    fresh: Whether an earlier run in the directory is deleted first.
    progress: Function of the number of steps to a :class:`isomax_jax.training.writers.Writer` that
      shows the log; None is silent.
    interruption: Looked at between steps; None listens to SIGINT and SIGTERM.

  Raises:
    ValueError: If the config names something unknown, the directory holds a run of another
      config, another process is training in it, or all its checkpoints are damaged.
    OSError: If the directory cannot be written to; what was saved before is intact.
    FloatingPointError: If the loss stops being finite.
    Interrupted: If it was asked to stop; the state is saved.

  Example:
    >>> train(TrainConfig(seed=1), "runs/digits")  # doctest: +SKIP
  """
  workdir, devices = Path(workdir), job_devices()
  known = find_known_set(config, find=partial(data.get_spec, data_dir=data_dir))
  splits = find_splits(config, known, data_dir=data_dir)
  detector = _own_detector(config)
  check_devices(config, devices)
  with open_directory(workdir, config, known.spec, fresh=fresh):
    if (workdir / DECISION).exists():
      return  # It is the last thing that a run writes.
    opened, *outliers = (split.open(data_dir) for split in splits)
    training, validation = data.split_validation(opened, config.data.validation, seed=config.seed)
    validation = validation.read(slice(None))
    pipeline = make_pipeline(config, *zip(splits, (training, *outliers), strict=True))
    schedule = make_schedule(config, examples=len(training.labels), devices=devices)
    runner = spread(config, known.preprocessing, pipeline.fetch, devices=devices)
    state = runner.replicate(make_state(config, known, devices, total_steps=schedule.total))
    bind = make_bind(make_network(config, known), known)
    with contextlib.ExitStack() as stack:
      takes_best = config.optim.select == "best"
      checkpoints = Checkpoints(
        workdir / CHECKPOINTS, kept=config.run.checkpoints_kept, keep_best=takes_best
      )
      stack.enter_context(contextlib.closing(checkpoints))
      state, tally = _restore(checkpoints, state, workdir)
      writers: list[Writer] = []
      if jax.process_index() == 0:  # The others would write the same.
        writers.append(JsonLinesWriter(workdir / METRICS, resume_step=int(state.step)))
        if config.run.tensorboard:
          writers.append(TensorBoardWriter(workdir / "tensorboard"))
        if progress is not None:
          writers.append(progress(schedule.total))
      if interruption is None:
        # All of several processes have to stop after the same step.
        several = jax.process_count() > 1
        interruption = Preemption() if several else stack.enter_context(listen())
      state = loop.fit(
        state,
        programs=loop.Programs(runner, pipeline.source, _keys(config)[1]),
        draws=pipeline.draws,
        schedule=schedule,
        log=Log(
          tally,
          [stack.enter_context(writer) for writer in writers],
          batch_size=config.optim.batch_size,
          steps_per_epoch=schedule.steps_per_epoch,
        ),
        checkpoints=checkpoints,
        validate=partial(_validate, bind, config.model.training_scale, validation)
        if len(validation.labels)
        else None,
        interruption=interruption,
      )
      variables = state.variables
      if takes_best:
        variables = checkpoints.restore_variables(variables, step=checkpoints.best_step())
    if len(validation.labels):
      decision = _decide(bind(jax.device_get(variables)), detector, known, validation)
      if jax.process_index() == 0:
        write_atomically(workdir / DECISION, json_bytes(decision))


def make_state(
  config: TrainConfig, known: KnownSet, devices: Sequence[Device], *, total_steps: int
) -> TrainState:
  """Make the initial state of a config's training."""
  return create_state(
    make_network(config, known, axis_name=find_axis(config, devices)),
    sgd(config.optim),
    _keys(config)[0],
    known.spec.example_shape,
    learning_rates=learning_rates(config.optim, total_steps=total_steps),
  )


def _keys(config: TrainConfig) -> jax.Array:
  """Return the random keys of the initial parameters and of the steps."""
  return jax.random.split(jax.random.key(config.seed))


def _own_detector(config: TrainConfig) -> str:
  """Return the head's detector, or raise ValueError if it has a fit."""
  head = HEADS[config.model.head]
  entry = DETECTORS.find(head.detector, argument=f"detector of head {head.name}")
  if entry.fit_on is not None:
    raise ValueError(
      f"the head {head.name} is to decide by {entry.name}, which has a fit: a run keeps none"
    )
  return entry.name


def _restore(
  checkpoints: Checkpoints, state: TrainState, workdir: Path
) -> tuple[TrainState, Tally]:
  """Return the last checkpoint's state and tally, or the initial ones."""
  restored = checkpoints.restore_last(state)
  if restored is None:
    return state, Tally()
  with naming(workdir / CHECKPOINTS):
    return restored[0], Tally.from_json(restored[1])


def _validate(
  bind: Callable[[Any], Classifier],
  entropic_scale: float,
  validation: data.Examples,
  state: TrainState,
) -> dict[str, float]:
  """Compute a step's metrics, with the loss of training, on the validation images."""
  logits = predict(forward, bind(state.variables), validation.images).logits
  return {
    "loss": negative_log_likelihood(entropic_scale * logits, validation.labels),
    "accuracy": accuracy(logits, validation.labels),
    "entropy": float(-np.mean(entropic_score(logits))),
  }


def _decide(
  classifier: Classifier, detector: str, known: KnownSet, validation: data.Examples
) -> dict[str, Any]:
  """Choose threshold and temperature on the validation images."""
  scored = pass_through(classifier, validation)
  fitted = {detector: Fitted(create_detector(detector))}
  scores = score_sets(fitted, classifier, {VALIDATION: scored})
  return {
    "detector": detector,
    "threshold": choose_threshold(scores[f"{detector}|{VALIDATION}"], tpr=TPR),
    "tpr": TPR,
    "temperature": fit_temperature(scored.outputs.logits, validation.labels),
    "examples": len(validation.labels),
    "class_names": known.class_names,
  }
