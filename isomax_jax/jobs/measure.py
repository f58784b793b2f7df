"""Measure a trained network by any detectors, on any unknown sets."""

import datetime
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from isomax_jax import data
from isomax_jax.detectors import Detector, create_detector
from isomax_jax.evaluation import Record
from isomax_jax.evaluation.benchmark import (
  Fitted,
  Measurement,
  ScoredSet,
  classification_measurements,
  detection_measurements,
  fit_detectors,
  score_sets,
)
from isomax_jax.evaluation.runs import TEST, VALIDATION
from isomax_jax.evaluation.tuning import ADVERSARIAL, GRIDS, adversarial_examples, tune
from isomax_jax.jobs.environment import environment
from isomax_jax.jobs.passes import TrainingBatches
from isomax_jax.jobs.trained import Trained
from isomax_jax.jobs.unknown import load_unknown, overlap

# Detectors that cost nothing beside the forward pass, and need no training images.
OF_LOGITS = ("energy", "entropic_score", "gen", "max_logit", "maximum_probability", "mmles")


class Measured(NamedTuple):
  """What was measured of a network.

  Attributes:
    sets: Every set that went through it: the known test images under ``"test"``, validation
      images under ``"validation"``, the unknown ones under their references.
    detectors: The detectors, fitted, by name.
    refused: Why other detectors could not be fitted, by name.
    scores: From ``"DETECTOR|SET"`` to scores, shape ``[images]``, float64.
    records: The numbers.
  """

  sets: dict[str, ScoredSet]
  detectors: dict[str, Fitted]
  refused: dict[str, ValueError]
  scores: dict[str, np.ndarray]
  records: list[Record]


def measure(
  trained: Trained,
  *,
  out_sets: Sequence[str],
  experiment: str,
  detectors: Mapping[str, Detector] | None = None,
  tune_on: str | None = None,
  tune_on_test: bool = False,
  temperature: float | None = None,
  held_out: int = 0,
  data_dir: str | os.PathLike[str] | None = None,
  report: Callable[[str], None] = lambda what: None,
) -> Measured:
  """Measure a network.

  Known are the test images of the known classes; unknown all test images of an out-set, or, of
  other classes of the known set, all images, none of which was trained on. Every image goes
  through the network once, however many the detectors, but for those that perturb it.

  Args:
    trained: The network.
    out_sets: References of unknown sets.
    experiment: Name of the protocol in the records.
    detectors: Detectors by name; None takes those that need the logits alone.
    tune_on: What the options of ODIN and Mahalanobis are chosen on, besides the known images that
      are held out or, where there are none, the run's validation images: ``"adversarial"`` or the
      reference of a set. None leaves their defaults.
    tune_on_test: Whether that set may be one of the out-sets, which favours the detector there.
    temperature: The temperature that was fitted on the run's validation images, to measure the
      probabilities with it too; None where there is none.
    held_out: How many of the known test images, drawn by the run's seed, are left out of every
      number, because something is chosen on them.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    report: Told what is being done.

  Returns:
    Sets, detectors, scores and records.

  Raises:
    ValueError: If an out-set does not fit the network or was learnt from as outliers, or there is
      nothing to tune on.
  """
  started = time.perf_counter()
  if detectors is None:
    detectors = {name: create_detector(name) for name in OF_LOGITS}
  tuned = {name: GRIDS[name] for name in detectors if name in GRIDS} if tune_on else {}
  if tuned and tune_on != ADVERSARIAL:
    _check_surrogate(tune_on, out_sets, tune_on_test=tune_on_test, data_dir=data_dir)
  outliers = trained.config.objective.outliers
  for out_set in out_sets:
    if outliers and overlap(out_set, outliers, data_dir=data_dir):
      raise ValueError(
        f"out-set {out_set} is not unknown: the network learnt from {outliers} as outliers"
      )
  unknown = {
    out_set: load_unknown(trained.setup, out_set, data_dir=data_dir) for out_set in out_sets
  }
  training, validation = _training_and_validation(trained, data_dir)
  test, held = _test_and_held_out(trained, held_out, data_dir)
  known = {TEST: test, VALIDATION: validation} if len(validation.labels) else {TEST: test}
  sets = {}
  for name, examples in {**known, **unknown}.items():
    report(f"forward pass of {name}")
    sets[name] = trained.score(*examples)
  classifier, batches = trained.classifier, TrainingBatches(trained, training)
  fitted, refused = fit_detectors(
    {name: detector for name, detector in detectors.items() if name not in tuned},
    classifier,
    batches,
    report=report,
  )
  if tuned:
    in_validation = trained.score(*held) if held_out else sets.get(VALIDATION)
    if in_validation is None:
      raise ValueError("tune_on needs known images that were not trained on: hold some out")
    report(f"preparing to tune on {tune_on}")
    if tune_on == ADVERSARIAL:
      surrogate = adversarial_examples(classifier, in_validation)
    else:
      surrogate = sets.get(tune_on) or trained.score(
        *load_unknown(trained.setup, tune_on, data_dir=data_dir)
      )
    for name, grid in tuned.items():
      report(f"tuning {name} on {tune_on}")
      fitted[name] = tune(
        grid, classifier, batches, in_validation, surrogate, surrogate_name=tune_on
      )
  scores = score_sets(fitted, classifier, sets, report=report)
  measurements = [
    *classification_measurements(sets[TEST].outputs.logits, test.labels, temperature=temperature),
    *detection_measurements(scores),
  ]
  records = make_records(
    trained,
    measurements,
    experiment=experiment,
    detectors=fitted,
    seconds=time.perf_counter() - started,
  )
  return Measured(sets, fitted, refused, scores, records)


def _check_surrogate(
  tune_on: str,
  out_sets: Sequence[str],
  *,
  tune_on_test: bool,
  data_dir: str | os.PathLike[str] | None,
) -> None:
  """Refuse a set that shares images with an out-set; if allowed, it may be one itself."""
  for out_set in out_sets:
    allowed = tune_on_test and out_set == tune_on
    if not allowed and overlap(out_set, tune_on, data_dir=data_dir):
      raise ValueError(
        f"tune_on: {tune_on} shares images with the out-set {out_set}, and detectors are not tuned "
        "on what they are tested on unless that is asked for"
      )


def _training_and_validation(
  trained: Trained, data_dir: str | os.PathLike[str] | None
) -> tuple[data.Examples | data.Stored, data.Examples]:
  """Open what the network was trained on, and load what was kept out of its training."""
  reference, config = trained.setup.reference, trained.config
  is_small = trained.setup.spec.num_bytes("train") < data.LARGEST_RESIDENT
  read = data.load if is_small else data.open_split
  training, validation = data.split_validation(
    read(reference.name, "train", classes=reference.classes, data_dir=data_dir),
    config.data.validation,
    seed=config.seed,
  )
  return training, validation if is_small else validation.read_all()


def _test_and_held_out(
  trained: Trained, held_out: int, data_dir: str | os.PathLike[str] | None
) -> tuple[data.Examples, data.Examples]:
  """Load the known test images, less some that are drawn by the run's seed, and these."""
  reference = trained.setup.reference
  test = data.load(reference.name, "test", classes=reference.classes, data_dir=data_dir)
  if not held_out:
    return test, test.take(np.zeros(len(test.labels), bool))
  if held_out >= len(test.labels):
    raise ValueError(f"held_out must be below the {len(test.labels)} test images, got {held_out}")
  order = np.random.default_rng(trained.config.seed).permutation(len(test.labels))
  is_held = np.isin(np.arange(len(order)), order[:held_out])
  return test.take(~is_held), test.take(is_held)


def make_records(
  trained: Trained,
  measurements: Iterable[Measurement],
  *,
  experiment: str,
  detectors: Mapping[str, Fitted] = MappingProxyType({}),
  seconds: float,
) -> list[Record]:
  """Say of measurements what they were made of, with and when.

  Args:
    trained: The network.
    measurements: What was measured of it.
    experiment: Name of the protocol.
    detectors: The detectors that were measured, for their options.
    seconds: How long the measurements took.

  Returns:
    A record a measurement.
  """
  surroundings = environment()
  none = Fitted(detector=None)
  return [
    Record(
      experiment=experiment,
      model=trained.config.model.name,
      head=trained.config.model.head,
      entropic_scale=trained.config.model.entropic_scale,
      objective=trained.config.objective.name,
      outliers=trained.config.objective.outliers,
      in_set=str(trained.setup.reference),
      seed=trained.config.seed,
      epochs=trained.epochs,
      checkpoint=trained.checkpoint,
      options=detectors.get(measurement.detector, none).options,
      tuned_on=detectors.get(measurement.detector, none).tuned_on,
      device=surroundings["device"],
      versions=surroundings["versions"],
      git_commit=surroundings["git_commit"],
      wall_time=seconds,
      time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      **measurement._asdict(),
    )
    for measurement in measurements
  ]
