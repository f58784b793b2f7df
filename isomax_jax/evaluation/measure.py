"""Score known and unknown sets with detectors and measure how well they are told apart."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax.detectors import DETECTORS, Batches, Classifier, Detector
from isomax_jax.evaluation.predict import forward, predict, to_pixels
from isomax_jax.metrics import (
  accuracy,
  detection_metrics,
  expected_calibration_error,
  negative_log_likelihood,
)
from isomax_jax.typing import Outputs, Scores

TEST, VALIDATION = "test", "validation"
"""Names under which scores of the known set's own splits are kept."""


Examples = tuple[np.ndarray, np.ndarray]
"""Images, uint8 as stored or pixels of [0, 1] in a floating dtype, and labels."""


class ScoredSet(NamedTuple):
  """A set that went through the network once.

  Attributes:
    images: Images, shape ``[examples, height, width, channels]``: uint8 as stored, or pixels of
      [0, 1] in a floating dtype.
    labels: Class indices, shape ``[examples]``.
    outputs: The network's outputs.
  """

  images: np.ndarray
  labels: np.ndarray
  outputs: Outputs


class Fitted(NamedTuple):
  """A detector that is ready to score.

  Attributes:
    detector: The detector.
    params: What its fit gave.
    options: What it was made with, where that was chosen and is no default.
    tuned_on: What the options were chosen on; None where nothing was.
  """

  detector: Detector
  params: Any = ()
  options: Mapping[str, Any] = {}
  tuned_on: str | None = None


class Measured(NamedTuple):
  """What was measured of a network.

  Attributes:
    sets: Every set that went through it: the known test images under ``"test"``, validation
      images under ``"validation"``, the unknown ones under their names.
    detectors: The detectors, fitted, by name.
    refused: Why other detectors could not be fitted, by name.
    scores: From ``"DETECTOR|SET"`` to scores, shape ``[images]``, float64.
    measurements: The numbers.
  """

  sets: dict[str, ScoredSet]
  detectors: dict[str, Fitted]
  refused: dict[str, ValueError]
  scores: dict[str, np.ndarray]
  measurements: list["Measurement"]


def measure(
  classifier: Classifier,
  known: Examples,
  unknown: Mapping[str, Examples],
  detectors: Mapping[str, Detector | Fitted],
  *,
  training: Batches = (),
  held_out: Batches = (),
  validation: Examples | None = None,
  temperature: float | None = None,
  report: Callable[[str], None] = lambda what: None,
) -> Measured:
  """Measure a classifier, and how well detectors tell unknown sets from the known one.

  Every image goes through the network once, however many the detectors, but for those that perturb
  it.

  Args:
    classifier: The network, its functions as ``jax.tree_util.Partial``; see
      :class:`isomax_jax.detectors.Classifier`.
    known: Test images of the known classes, and their labels.
    unknown: Images of sets that the network knows nothing of, by name; labels are not looked at.
    detectors: Detectors by name; those that are fitted already are taken as they are.
    training: What the network was trained on, for the fits: images, labels and outputs.
    held_out: Known examples that it was not trained on, for the fits of detectors whose record says
      so.
    validation: Known images to be scored beside the others, without a number of their own.
    temperature: A temperature that was fitted on other images, to measure the probabilities with it
      too; None where there is none.
    report: Told what is being done.

  Returns:
    Sets, detectors, scores and numbers.

  Raises:
    ValueError: If a score is NaN, or a name is one of the known set's own or holds a ``"|"``.

  Example:
    >>> from jax.tree_util import Partial
    >>> from isomax_jax.detectors import create_detector
    >>> classifier = Classifier(Partial(lambda x: Outputs(x, x)), None, {})
    >>> known = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> unknown = {"noise": (np.full((3, 2), 0.5, np.float32), np.zeros(3, int))}
    >>> detectors = {"entropic_score": create_detector("entropic_score")}
    >>> measured = measure(classifier, known, unknown, detectors)
    >>> {m.metric: m.value for m in measured.measurements}["auroc"]
    1.0
  """
  for name in (*unknown, *detectors):
    if name in (TEST, VALIDATION) or "|" in name:
      raise ValueError(f"{name!r} can be the name of no unknown set and no detector")
  sets = {}
  known_sets = {TEST: known} | ({} if validation is None else {VALIDATION: validation})
  for name, examples in (known_sets | dict(unknown)).items():
    report(f"forward pass of {name}")
    sets[name] = pass_through(classifier, examples)
  fitted, refused = fit_detectors(detectors, classifier, training, held_out=held_out, report=report)
  scores = score_sets(fitted, classifier, sets, report=report)
  logits, labels = sets[TEST].outputs.logits, sets[TEST].labels
  return Measured(
    sets,
    fitted,
    refused,
    scores,
    [
      *classification_measurements(logits, labels, temperature=temperature),
      *detection_measurements(scores),
    ],
  )


def pass_through(classifier: Classifier, examples: Examples) -> ScoredSet:
  """Send images, with their labels, through the network once.

  Example:
    >>> from jax.tree_util import Partial
    >>> classifier = Classifier(Partial(lambda x: Outputs(x, x)), None, {})
    >>> examples = np.ones((3, 2), np.float32), np.zeros(3, int)
    >>> pass_through(classifier, examples).outputs.logits.shape
    (3, 2)
  """
  images, labels = examples
  return ScoredSet(images, labels, predict(forward, classifier, images))


def fit_detectors(
  detectors: Mapping[str, Detector | Fitted],
  classifier: Classifier,
  training: Batches,
  *,
  held_out: Batches = (),
  report: Callable[[str], None] = lambda what: None,
) -> tuple[dict[str, Fitted], dict[str, ValueError]]:
  """Fit detectors to known examples.

  Args:
    detectors: The detectors, by name; those that are fitted already are taken as they are.
    classifier: The network.
    training: What the network was trained on, iterated as often as the fits need.
    held_out: Examples that it was not trained on, which detectors get whose record says so.
    report: Told what is being done.

  Returns:
    The fitted detectors, and why others could not be fitted: to this network
    (:class:`isomax_jax.detectors.Unsupported`) or to these data.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> detectors = {name: create_detector(name) for name in ("energy", "knn")}
    >>> fitted, refused = fit_detectors(detectors, None, [])
    >>> list(fitted), refused
    (['energy'], {'knn': ValueError('knn needs training data: there was no example')})
  """
  fitted, refused = {}, {}
  for name, detector in detectors.items():
    if isinstance(detector, Fitted):
      fitted[name] = detector
      continue
    report(f"fitting {name}")
    batches = held_out if name in DETECTORS and DETECTORS[name].fit_on == "held_out" else training
    try:
      fitted[name] = Fitted(detector, detector.fit(classifier, batches))
    except ValueError as error:
      refused[name] = error
  return fitted, refused


def score_sets(
  detectors: Mapping[str, Fitted],
  classifier: Classifier,
  sets: Mapping[str, ScoredSet],
  *,
  batch_size: int = 256,
  report: Callable[[str], None] = lambda what: None,
) -> dict[str, np.ndarray]:
  """Score sets with detectors; the outputs that are there serve them all.

  Args:
    detectors: Fitted detectors, by name.
    classifier: The network, its functions as ``jax.tree_util.Partial``; see
      :class:`isomax_jax.detectors.Classifier`.
    sets: The sets, by name.
    batch_size: Examples at a time.
    report: Told what is being done.

  Returns:
    From ``"DETECTOR|SET"`` to scores, shape ``[examples]``, float64.

  Raises:
    ValueError: If a score is NaN.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> logits = np.array([[0.0, 0.0], [9.0, 0.0]], np.float32)
    >>> outputs = Outputs(logits, features=np.zeros((2, 4), np.float32))
    >>> test = ScoredSet(np.zeros((2, 6, 6, 1), np.uint8), np.array([0, 1]), outputs)
    >>> score_sets({"max_logit": Fitted(create_detector("max_logit"))}, None, {"test": test})
    {'max_logit|test': array([0., 9.])}
  """
  scores = {}
  for name, fitted in detectors.items():
    score = make_score(fitted.detector)
    for set_name, scored in sets.items():
      report(f"scoring {set_name} with {name}")
      inputs = (scored.images, scored.outputs)
      values = predict(score, (fitted.params, classifier), inputs, batch_size=batch_size)
      if np.isnan(values).any():
        count = np.isnan(values).sum()
        raise ValueError(f"{name} scored {count} of the {len(values)} images of {set_name} NaN")
      scores[f"{name}|{set_name}"] = values.astype(np.float64)
  return scores


def make_score(detector: Detector) -> Callable[[Any, Any], Scores]:
  """Make the jitted function that :func:`isomax_jax.evaluation.predict` takes for a detector.

  Args:
    detector: The detector.

  Returns:
    Function of fitted parameters and classifier, and of images and outputs, to scores. The
    network's weights are an argument of the program, not constants in it.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> import jax.numpy as jnp
    >>> outputs = Outputs(jnp.array([[0.0, 9.0]]), features=jnp.zeros((1, 4)))
    >>> score = make_score(create_detector("max_logit"))
    >>> print(score(((), None), (jnp.zeros((1, 6, 6, 1), jnp.uint8), outputs)))
    [9.]
  """
  return jax.jit(partial(_score, detector.score))


def _score(score, constants, inputs):
  params, classifier = constants
  images, outputs = inputs
  return score(params, classifier, to_pixels(images), outputs)


class Measurement(NamedTuple):
  """A number, and what it was measured with and on; None where that does not apply."""

  detector: str | None
  out_set: str | None
  metric: str
  value: float
  n_in: int
  n_out: int


def classification_measurements(
  logits: np.ndarray, labels: np.ndarray, *, temperature: float | None = None
) -> Iterator[Measurement]:
  """Measure accuracy, negative log-likelihood and calibration error of the known test images.

  Args:
    logits: Logits, shape ``[images, classes]``.
    labels: Class indices, shape ``[images]``.
    temperature: A temperature that was fitted on other images; None where there is none.

  Yields:
    The three, and with a temperature the last two once more, of the logits over it, with
    ``calibrated_`` before their names. The temperature does not change the accuracy.

  Example:
    >>> logits = np.array([[0.0, 5.0], [5.0, 0.0]])
    >>> next(classification_measurements(logits, np.array([1, 1])))[2:]
    ('accuracy', 0.5, 2, 0)
  """
  for metric in (accuracy, negative_log_likelihood, expected_calibration_error):
    yield Measurement(None, None, metric.__name__, metric(logits, labels), len(labels), 0)
  if temperature is not None:
    calibrated = logits.astype(np.float64) / temperature
    for metric in (negative_log_likelihood, expected_calibration_error):
      value = metric(calibrated, labels)
      yield Measurement(None, None, f"calibrated_{metric.__name__}", value, len(labels), 0)


def detection_measurements(scores: Mapping[str, np.ndarray]) -> Iterator[Measurement]:
  """Measure every detector's scores of the test images against those of each unknown set.

  Args:
    scores: What :func:`score_sets` gave, the known test images under ``"test"``.

  Yields:
    Every detection metric of every detector and unknown set.

  Example:
    >>> scores = {"energy|test": np.array([2.0, 3.0]), "energy|letters": np.array([1.0])}
    >>> next(detection_measurements(scores))
    Measurement(detector='energy', out_set='letters', metric='auroc', value=1.0, n_in=2, n_out=1)
  """
  for key, out_scores in scores.items():
    detector, _, out_set = key.partition("|")
    if out_set in (TEST, VALIDATION):
      continue
    in_scores = scores[f"{detector}|{TEST}"]
    for metric, value in detection_metrics(in_scores, out_scores).items():
      yield Measurement(detector, out_set, metric, value, len(in_scores), len(out_scores))
