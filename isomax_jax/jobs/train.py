"""Train a network into a run directory, or go on where an earlier try stopped."""

import contextlib
import math
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
from isomax_jax.detectors import create_detector
from isomax_jax.evaluation.benchmark import Fitted, score_sets
from isomax_jax.evaluation.predict import predict
from isomax_jax.evaluation.runs import VALIDATION
from isomax_jax.jobs.batches import find_origins, make_fetch, open_batches
from isomax_jax.jobs.setup import Forward, make_forward, make_model, make_setup
from isomax_jax.jobs.steps import count_steps, make_runner, steps_per_dispatch
from isomax_jax.jobs.trained import Trained
from isomax_jax.jobs.workdir import json_bytes, open_workdir
from isomax_jax.metrics import accuracy, fit_temperature, negative_log_likelihood
from isomax_jax.scores import entropic_score
from isomax_jax.training import TrainConfig, TrainState, create_state, loop
from isomax_jax.training.checkpoints import Checkpoints
from isomax_jax.training.interruption import Interruption, listen
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.training.processes import Preemption
from isomax_jax.training.tally import Tally
from isomax_jax.training.writers import JsonLinesWriter, TensorBoardWriter, Writer

# The detector whose threshold a run keeps: the one its head was proposed with.
DETECTOR_OF_HEAD = {
  "dismax": "mmles",
  "isomax": "entropic_score",
  "isomax_plus": "max_logit",
  "softmax": "maximum_probability",
}
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

  A run directory that holds an unfinished run of the same config is gone on with; a finished one
  is left as it is. A surrounding ``jax.default_device`` is the one device that is used.

  Args:
    config: What to train.
    workdir: The run directory.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    fresh: Whether what the directory holds of an earlier run is deleted first.
    progress: Function of the number of steps to a writer that shows them.
    interruption: Looked at between steps; None listens to SIGINT and SIGTERM.

  Raises:
    ValueError: If the config names something unknown, the directory holds a run of another
      config, another process is training in it, or all its checkpoints are damaged.
    OSError: If the directory cannot be written to; what was saved before is intact.
    FloatingPointError: If the loss stops being finite.
    Interrupted: If it was asked to stop; the state is saved.
  """
  workdir = Path(workdir)
  setup = make_setup(config, find=partial(data.get_spec, data_dir=data_dir))
  known, outliers = find_origins(config, setup, data_dir)
  runner, axis_name = make_runner(config, setup, make_fetch(known, outliers), devices=job_devices())
  with open_workdir(workdir, config, setup.spec, fresh=fresh):
    if (workdir / "decision.json").exists():
      return  # It is the last thing that a run writes.
    training, validation = data.split_validation(
      known.open(data_dir), config.data.validation, seed=config.seed
    )
    if known.streamed:
      validation = validation.read_all()
    source, draws = open_batches(
      training, config, None if outliers is None else outliers.open(data_dir)
    )
    schedule = _schedule(config, len(training.labels))
    initial_key, step_key = jax.random.split(jax.random.key(config.seed))
    state = runner.replicate(
      create_state(
        make_model(config, setup, axis_name=axis_name),
        sgd(config.optim),
        initial_key,
        setup.spec.image_shape,
        learning_rates=learning_rates(config.optim, total_steps=schedule.total),
      )
    )
    forward = make_forward(make_model(config, setup), setup)
    with contextlib.ExitStack() as stack:
      checkpoints = stack.enter_context(contextlib.closing(_open_checkpoints(workdir, config)))
      tally = Tally()
      restored = checkpoints.restore_last(state)
      if restored is not None:
        state = restored[0]
        with naming(workdir / "checkpoints"):
          tally = Tally.from_json(restored[1])
      state = loop.fit(
        state,
        runner=runner,
        source=runner.replicate(source),
        draws=draws,
        key=runner.replicate(step_key),
        batch_size=config.optim.batch_size,
        schedule=schedule,
        tally=tally,
        checkpoints=checkpoints,
        validate=partial(_validate, forward, config.model.entropic_scale, validation)
        if len(validation.labels)
        else None,
        writers=[
          stack.enter_context(writer)
          for writer in _writers(workdir, config, int(state.step), schedule.total, progress)
        ],
        interruption=stack.enter_context(_listen()) if interruption is None else interruption,
      )
      variables = state.variables
      if config.optim.select == "best":
        variables = checkpoints.restore_variables(variables, step=checkpoints.best_step())
    if len(validation.labels):
      variables = jax.device_get(variables)
      decision = _decide(Trained(config, setup, variables, forward), validation)
      if jax.process_index() == 0:
        write_atomically(workdir / "decision.json", json_bytes(decision))


def _listen() -> contextlib.AbstractContextManager[Interruption]:
  """Note what asks to stop; among several processes all have to stop after the same step."""
  return listen() if jax.process_count() == 1 else contextlib.nullcontext(Preemption())


def _open_checkpoints(workdir: Path, config: TrainConfig) -> Checkpoints:
  return Checkpoints(
    workdir / "checkpoints",
    kept=config.run.checkpoints_kept,
    keep_best=config.optim.select == "best",
  )


def _schedule(config: TrainConfig, examples: int) -> loop.Schedule:
  """Turn the config's epochs into steps."""
  steps = partial(count_steps, config, examples=examples)
  total = steps(config.optim.epochs)
  return loop.Schedule(
    total=total,
    steps_per_epoch=examples / config.optim.batch_size,
    per_dispatch=steps_per_dispatch(config, job_devices(), total_steps=total),
    log=steps(config.run.log_epochs),
    validate=steps(config.run.validate_epochs),
    checkpoint=steps(config.run.checkpoint_epochs),
    checkpoint_seconds=60 * (config.run.checkpoint_minutes or math.inf),
  )


def _writers(
  workdir: Path,
  config: TrainConfig,
  step: int,
  total_steps: int,
  progress: Callable[[int], Writer] | None,
) -> Sequence[Writer]:
  if jax.process_index() > 0:
    return []  # All have the same to say.
  writers: list[Writer] = [JsonLinesWriter(workdir / "metrics.jsonl", resume_step=step)]
  if config.run.tensorboard:
    writers.append(TensorBoardWriter(workdir / "tensorboard"))
  if progress is not None:
    writers.append(progress(total_steps))
  return writers


def _validate(
  forward: Forward, entropic_scale: float, validation: data.Examples, state: TrainState
) -> dict[str, float]:
  """Measure on the validation images what a step does on a batch, with the loss of training."""
  logits = predict(forward, state.variables, validation.images).logits
  return {
    "loss": negative_log_likelihood(entropic_scale * logits, validation.labels),
    "accuracy": accuracy(logits, validation.labels),
    "entropy": float(-np.mean(entropic_score(logits))),
  }


def _decide(trained: Trained, validation: data.Examples) -> dict[str, Any]:
  """Choose threshold and temperature on the validation images."""
  detector = DETECTOR_OF_HEAD[trained.config.model.head]
  scored = trained.score(*validation)
  fitted = {detector: Fitted(create_detector(detector))}
  scores = score_sets(fitted, trained.classifier, {VALIDATION: scored})
  return {
    "detector": detector,
    "threshold": choose_threshold(scores[f"{detector}|{VALIDATION}"], tpr=TPR),
    "tpr": TPR,
    "temperature": fit_temperature(scored.outputs.logits, validation.labels),
    "examples": len(validation.labels),
    "class_names": trained.setup.class_names,
  }
