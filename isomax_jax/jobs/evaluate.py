"""Measure a trained network: accuracy, and every detector on every unknown set."""

import datetime
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from isomax_jax import data
from isomax_jax._files import write_arrays, write_atomically
from isomax_jax.detectors import Detector, create_detector
from isomax_jax.evaluation import Record, append_records
from isomax_jax.evaluation.benchmark import (
  Fitted,
  Measurement,
  ScoredSet,
  classification_measurements,
  detection_measurements,
  fit_detectors,
  score_sets,
)
from isomax_jax.evaluation.calibration import calibration_to_json, measure_calibration
from isomax_jax.evaluation.runs import TEST, VALIDATION, read_decision
from isomax_jax.evaluation.tuning import ADVERSARIAL, GRIDS, adversarial_examples, tune
from isomax_jax.jobs.environment import environment
from isomax_jax.jobs.passes import TrainingBatches
from isomax_jax.jobs.train import DETECTOR_OF_HEAD
from isomax_jax.jobs.trained import Trained, load_trained
from isomax_jax.jobs.unknown import load_unknown, overlap

_EXAMPLES = 8
# Detectors that cost nothing beside the forward pass, and need no training images.
OF_LOGITS = ("energy", "entropic_score", "max_logit", "maximum_probability", "mmles")


def default_out_sets(
  reference: data.Reference,
  *,
  outliers: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
) -> list[str]:
  """List what a known set is compared with unless told: its other classes, and the out-sets.

  Args:
    reference: The known set and its known classes.
    outliers: Reference of the set that the network learnt from as outliers, if there was one; its
      images are left out.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Returns:
    References of sets whose images have the known set's shape and which are prepared, or need
    nothing to be fetched.

  Example:
    >>> default_out_sets(data.parse_reference("mnist_5k:0-7"))
    ['mnist_5k:8,9', 'letters', 'photos']
    >>> default_out_sets(data.parse_reference("mnist_5k:0-7"), outliers="mnist_5k:8")
    ['mnist_5k:9', 'letters', 'photos']
  """
  spec = data.get_spec(reference.name, data_dir=data_dir)
  out_sets = [
    other.name
    for other in data.SPECS.values()
    if "out" in other.role
    and other.name != reference.name
    and other.image_shape == spec.image_shape
    and (not other.archives or data.is_prepared(other, data_dir=data_dir))
    and not (outliers and overlap(other.name, outliers, data_dir=data_dir))
  ]
  if reference.classes is None:
    return out_sets
  others = set(range(len(spec.class_names))) - set(reference.classes)
  if outliers:
    others -= set(overlap(reference.name, outliers, data_dir=data_dir))
  held_out = data.Reference(reference.name, tuple(sorted(others)))
  return [str(held_out), *out_sets] if others else out_sets


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
  checkpoint: str = "last",
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
    checkpoint: Rule that chose the checkpoint, for the records.
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
  if tuned and tune_on in out_sets and not tune_on_test:
    raise ValueError(
      f"tune_on: {tune_on} is an out-set, and detectors are not tuned on what they are tested on "
      "unless that is asked for"
    )
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
    checkpoint=checkpoint,
    seconds=time.perf_counter() - started,
  )
  return Measured(sets, fitted, refused, scores, records)


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
  checkpoint: str = "last",
  seconds: float,
) -> list[Record]:
  """Say of measurements what they were made of, with and when.

  Args:
    trained: The network.
    measurements: What was measured of it.
    experiment: Name of the protocol.
    detectors: The detectors that were measured, for their options.
    checkpoint: Rule that chose the checkpoint.
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
      epochs=trained.config.optim.epochs,
      checkpoint=checkpoint,
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
    out_sets: References of unknown sets; None takes :func:`default_out_sets`.
    experiment: Name of the protocol in the records; None takes the directory's name.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Returns:
    The records; see :func:`measure`.

  Raises:
    ValueError: If the directory is not a trained run, or an out-set does not fit it.
  """
  run_dir = Path(run_dir)
  trained = load_trained(run_dir)
  if out_sets is None:
    out_sets = default_out_sets(
      trained.setup.reference, outliers=trained.config.objective.outliers, data_dir=data_dir
    )
  decision = run_dir / "decision.json"
  temperature = read_decision(decision)["temperature"] if decision.exists() else None
  measured = measure(
    trained,
    out_sets=out_sets,
    experiment=experiment or run_dir.resolve().name,
    temperature=temperature,
    data_dir=data_dir,
  )
  write_arrays(run_dir / "scores.npz", measured.scores)
  own = DETECTOR_OF_HEAD[trained.config.model.head]
  write_arrays(run_dir / "examples.npz", _extremes(measured.sets, measured.scores, own))
  _write_calibration(run_dir / "calibration.json", measured.sets[TEST], temperature)
  (run_dir / "records.jsonl").unlink(missing_ok=True)
  append_records(run_dir / "records.jsonl", measured.records)
  return measured.records


def _write_calibration(path: Path, test: ScoredSet, temperature: float | None) -> None:
  """Write what the temperature does to the test images' probabilities; nothing without one."""
  path.unlink(missing_ok=True)
  if temperature is not None:
    measured = measure_calibration(test.outputs.logits, test.labels, temperature=temperature)
    write_atomically(path, (json.dumps(calibration_to_json(measured)) + "\n").encode())


def _extremes(sets: dict[str, ScoredSet], scores: dict[str, np.ndarray], detector: str):
  """Pick each set's images with the highest and the lowest scores, most extreme first."""
  examples = {}
  for name, scored in sets.items():
    if name == VALIDATION:
      continue
    values = scores[f"{detector}|{name}"]
    order = np.argsort(values, kind="stable")
    for end, chosen in (("highest", order[::-1][:_EXAMPLES]), ("lowest", order[:_EXAMPLES])):
      examples[f"{name}|{end}"] = scored.images[chosen]
      examples[f"{name}|{end}|scores"] = values[chosen]
  return examples
