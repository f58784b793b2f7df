"""Evaluation of a run: metrics, scores, extreme examples and calibration."""

import datetime
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from isomax_jax import data
from isomax_jax._files import write_arrays, write_atomically
from isomax_jax.detectors import DETECTORS, Detector, create_detector
from isomax_jax.evaluation.batches import FitBatches
from isomax_jax.evaluation.calibration import calibration_to_json, measure_calibration
from isomax_jax.evaluation.measure import (
  TEST,
  VALIDATION,
  Fitted,
  Measured,
  Measurement,
  measure,
  pass_through,
)
from isomax_jax.evaluation.tuning import ADVERSARIAL, GRIDS, adversarial_examples, tune
from isomax_jax.heads import HEADS
from isomax_jax.reporting import Record, write_records
from isomax_jax.runs._load import Run, load
from isomax_jax.runs.environment import environment
from isomax_jax.runs.known_set import Split

_EXTREMES = 8


def evaluate(
  run_dir: str | os.PathLike[str],
  *,
  out_sets: Sequence[str] | None = None,
  experiment: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> list[Record]:
  """Measure the network of a run directory and write scores, examples and records into it.

  Where the run has a temperature, fitted on validation images, the calibration of the test images'
  probabilities is written too. What an earlier evaluation wrote is replaced.

  Args:
    run_dir: The run directory.
    out_sets: References of unknown sets; None takes :func:`find_out_sets`.
    experiment: Name of the protocol in the records; None takes the directory's name.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Returns:
    The records; see :func:`measure_run`.

  Raises:
    ValueError: If the directory is not a trained run, or an out-set does not fit it.

  Example:
    >>> records = evaluate("runs/digits", out_sets=["letters"])  # doctest: +SKIP
    >>> [r.value for r in records if r.metric == "accuracy"]  # doctest: +SKIP
    [0.976]
  """
  run_dir = Path(run_dir)
  run = load(run_dir)
  temperature = None if run.decision is None else run.decision["temperature"]
  measured, records = measure_run(
    run,
    out_sets=find_out_sets(run, data_dir=data_dir) if out_sets is None else out_sets,
    experiment=experiment or run_dir.resolve().name,
    temperature=temperature,
    data_dir=data_dir,
  )
  own = HEADS[run.config.model.head].detector
  (run_dir / "records.jsonl").unlink(missing_ok=True)  # Of other scores than are written next.
  write_arrays(run_dir / "scores.npz", measured.scores)
  write_arrays(run_dir / "examples.npz", _extremes(measured, own))
  calibration = run_dir / "calibration.json"
  calibration.unlink(missing_ok=True)
  if temperature is not None:
    _, labels, outputs = measured.sets[TEST]
    found = measure_calibration(outputs.logits, labels, temperature=temperature)
    write_atomically(calibration, (json.dumps(calibration_to_json(found)) + "\n").encode())
  write_records(run_dir / "records.jsonl", records)
  return records


def find_out_sets(run: Run, *, data_dir: str | os.PathLike[str] | None = None) -> list[str]:
  """List the unknown sets of a run by default; see :func:`isomax_jax.data.default_out_sets`.

  Example:
    >>> find_out_sets(load("runs/digits"))  # doctest: +SKIP
    ['mnist_5k:8,9', 'letters', 'photos']
  """
  outliers = run.config.objective.outliers
  return data.default_out_sets(run.known.reference, outliers=outliers, data_dir=data_dir)


class Tuning(NamedTuple):
  """How the options of detectors that have a grid are chosen.

  Attributes:
    on: What stands for unknown images: the reference of a set, or ``"adversarial"`` for adversarial
      examples of the known images that are held out, which without such are validation images.
    allow_tested: Whether that set may be one of the out-sets, which favours the detector there.
  """

  on: str
  allow_tested: bool = False


def measure_run(
  run: Run,
  *,
  out_sets: Sequence[str],
  experiment: str,
  detectors: Mapping[str, Detector] | None = None,
  tuning: Tuning | None = None,
  temperature: float | None = None,
  held_out: int = 0,
  data_dir: str | os.PathLike[str] | None = None,
  report: Callable[[str], None] = lambda what: None,
) -> tuple[Measured, list[Record]]:
  """Load what a run's network is measured on, and measure it.

  Known are the test images of the known classes; unknown all test images of an out-set, or, of
  other classes of the known set, all images, none of which was trained on.

  Args:
    run: The run.
    out_sets: References of unknown sets.
    experiment: Name of the protocol in the records.
    detectors: Detectors by name; None takes that of the head, and those that cost nothing beside
      the forward pass.
    tuning: How options are chosen; None leaves the defaults.
    temperature: A temperature fitted on validation images, to measure calibrated probabilities too.
    held_out: How many of the known test images, drawn by the run's seed, are left out of every
      number, because something is chosen on them.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    report: Called with what is being done.

  Returns:
    What was measured, and a record a number.

  Raises:
    ValueError: If an out-set does not fit the network or was learnt from as outliers, or there is
      nothing to tune on.

  Example:
    >>> run = load("runs/digits")  # doctest: +SKIP
    >>> measured, _ = measure_run(run, out_sets=["letters"], experiment="e")  # doctest: +SKIP
    >>> measured.scores["entropic_score|letters"].shape  # doctest: +SKIP
    (630,)
  """
  if isinstance(out_sets, str):
    raise TypeError(f"out_sets must be a sequence of references, got {out_sets!r} alone")
  started = time.perf_counter()
  if detectors is None:
    free = {name for name, entry in DETECTORS.items() if entry.is_free}
    own = HEADS[run.config.model.head].detector
    detectors = {name: create_detector(name) for name in sorted(free | {own})}
  tuned = [name for name in detectors if name in GRIDS]
  if tuning is not None and tuned:
    _check_surrogate(tuning, out_sets, data_dir=data_dir)
  known, config = run.known, run.config
  outliers = config.objective.outliers
  for out_set in out_sets:
    if outliers and data.overlap(out_set, outliers, data_dir=data_dir):
      raise ValueError(
        f"out-set {out_set} is not unknown: the network learnt from {outliers} as outliers"
      )
  load_unknown = partial(data.load_unknown, known.reference, known.spec, data_dir=data_dir)
  unknown = {out_set: load_unknown(out_set) for out_set in out_sets}
  opened = Split(known.reference, known.spec, "train", "auto").open(data_dir)
  training, validation = data.split_validation(opened, config.data.validation, seed=config.seed)
  test, held = known.load_test(held_out=held_out, seed=config.seed, data_dir=data_dir)
  validation = validation.read(slice(None))
  held = held if held_out else validation
  batches = FitBatches(run.classifier, training)
  fitted = {}
  if tuning is not None and tuned:
    if not len(held.labels):
      raise ValueError("tune_on needs known images that were not trained on: hold some out")
    report(f"preparing to tune on {tuning.on}")
    in_validation = pass_through(run.classifier, held)
    if tuning.on == ADVERSARIAL:
      surrogate = adversarial_examples(run.classifier, in_validation)
    else:
      surrogate = pass_through(run.classifier, load_unknown(tuning.on))
    for name in tuned:
      report(f"tuning {name} on {tuning.on}")
      fitted[name] = tune(
        GRIDS[name], run.classifier, batches, in_validation, surrogate, surrogate_name=tuning.on
      )
  measured = measure(
    run.classifier,
    test,
    unknown,
    {**detectors, **fitted},
    training=batches,
    held_out=FitBatches(run.classifier, held) if len(held.labels) else (),
    validation=validation if len(validation.labels) else None,
    temperature=temperature,
    report=report,
  )
  records = make_records(
    run,
    measured.measurements,
    experiment=experiment,
    detectors=measured.detectors,
    seconds=time.perf_counter() - started,
  )
  return measured, records


def _check_surrogate(
  tuning: Tuning, out_sets: Sequence[str], *, data_dir: str | os.PathLike[str] | None
) -> None:
  """Refuse a set that shares images with an out-set; if allowed, it may be one itself."""
  for out_set in out_sets if tuning.on != ADVERSARIAL else ():
    allowed = tuning.allow_tested and out_set == tuning.on
    if not allowed and data.overlap(out_set, tuning.on, data_dir=data_dir):
      raise ValueError(
        f"tune_on: {tuning.on} shares images with the out-set {out_set}, and detectors are not "
        "tuned on what they are tested on unless that is asked for"
      )


def make_records(
  run: Run,
  measurements: Iterable[Measurement],
  *,
  experiment: str,
  detectors: Mapping[str, Fitted] = MappingProxyType({}),
  seconds: float,
) -> list[Record]:
  """Make records of measurements: what they were made of, with and when.

  Args:
    run: The network.
    measurements: What was measured of it.
    experiment: Name of the protocol.
    detectors: The detectors that were measured, for their options.
    seconds: How long the measurements took.

  Example:
    >>> share = Measurement(None, None, "accuracy", value=0.98, n_in=350, n_out=0)
    >>> make_records(run, [share], experiment="mine", seconds=0.1)  # doctest: +SKIP
  """
  surroundings = environment()
  return [
    Record(
      experiment=experiment,
      model=run.config.model.name,
      head=run.config.model.head,
      entropic_scale=run.config.model.training_scale,
      objective=run.config.objective.name,
      outliers=run.config.objective.outliers,
      in_set=str(run.known.reference),
      seed=run.config.seed,
      epochs=run.epochs,
      checkpoint=run.checkpoint,
      wall_time=seconds,
      time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      **surroundings,
      **measurement._asdict(),
      **_choice(detectors, measurement),
    )
    for measurement in measurements
  ]


def _choice(detectors: Mapping[str, Fitted], measurement: Measurement) -> dict[str, Any]:
  """Return the fields of a record that say what was chosen for the detector, if there is one."""
  if measurement.detector is None or measurement.detector not in detectors:
    return {}
  fitted = detectors[measurement.detector]
  return {"options": fitted.options, "tuned_on": fitted.tuned_on}


def _extremes(measured: Measured, detector: str) -> dict[str, np.ndarray]:
  """Pick each set's images with the highest and the lowest scores, most extreme first."""
  examples = {}
  for name, scored in measured.sets.items():
    if name == VALIDATION:
      continue
    values = measured.scores[f"{detector}|{name}"]
    order = np.argsort(values, kind="stable")
    for end, chosen in (("highest", order[::-1][:_EXTREMES]), ("lowest", order[:_EXTREMES])):
      examples[f"{name}|{end}"] = scored.images[chosen]
      examples[f"{name}|{end}|scores"] = values[chosen]
  return examples
