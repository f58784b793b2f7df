"""Score known and unknown sets with detectors and measure how well they are told apart."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax.detectors import Batches, Classifier, Detector
from isomax_jax.evaluation.predict import place, predict
from isomax_jax.evaluation.runs import TEST, VALIDATION
from isomax_jax.metrics import (
  accuracy,
  detection_metrics,
  expected_calibration_error,
  negative_log_likelihood,
)
from isomax_jax.typing import Outputs, Scores


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


def fit_detectors(
  detectors: Mapping[str, Detector],
  classifier: Classifier,
  batches: Batches,
  *,
  report: Callable[[str], None] = lambda what: None,
) -> tuple[dict[str, Fitted], dict[str, ValueError]]:
  """Fit detectors to training data.

  Args:
    detectors: The detectors, by name.
    classifier: The network.
    batches: The training data, iterated as often as the fits need.
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
    report(f"fitting {name}")
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


def to_pixels(images: jax.Array) -> jax.Array:
  """Turn stored images, uint8, into pixels of [0, 1]; leave pixels as they are.

  Example:
    >>> print(to_pixels(jnp.array([0, 255], jnp.uint8)), to_pixels(jnp.array([0.0, 0.5])))
    [0. 1.] [0.  0.5]
  """
  return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


def relative_times(
  detectors: Mapping[str, Fitted],
  classifier: Classifier,
  images: np.ndarray,
  *,
  rounds: int = 5,
  calls: int = 2,
  report: Callable[[str], None] = lambda what: None,
) -> tuple[float, dict[str, float]]:
  """Time detectors with the network's forward pass beside the pass alone, all in turns.

  A forward pass and a score are one program, compiled before, as they are where a detector is
  deployed.

  Args:
    detectors: Fitted detectors, by name.
    classifier: The network, its functions as ``jax.tree_util.Partial``.
    images: One batch of images as stored, uint8.
    rounds: How often each has a turn.
    calls: Batches a turn, dispatched one after the other without waiting.
    report: Told what is being done.

  Returns:
    Seconds an image of the forward pass, and from a detector's name to how many times as long the
    forward pass takes together with its score: 1 costs nothing. All are the least over rounds,
    which other work of the machine disturbs least.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> from jax.tree_util import Partial
    >>> classifier = Classifier(Partial(lambda x: Outputs(x.reshape(len(x), -1), x)), None, {})
    >>> fitted = {"energy": Fitted(create_detector("energy"))}
    >>> seconds, times = relative_times(fitted, classifier, np.zeros((8, 2, 2, 1), np.uint8))
    >>> list(times)
    ['energy']
  """
  report("timing")
  (classifier, params), images = place(
    (classifier, {name: fitted.params for name, fitted in detectors.items()}), images
  )
  programs = {None: jax.jit(_forward)} | {
    name: jax.jit(partial(_forward_and_score, fitted.detector.score))
    for name, fitted in detectors.items()
  }

  def run(name: str | None) -> float:
    constants = classifier, () if name is None else params[name]
    started = time.perf_counter()
    jax.block_until_ready([programs[name](*constants, images) for _ in range(calls)])
    return time.perf_counter() - started

  # What came before leaves its marks in caches and memory: a run that is not timed comes first,
  # and the order is another in every round.
  orders = np.random.default_rng(0)
  for name in programs:
    run(name)
  least = dict.fromkeys(programs, np.inf)
  for _ in range(rounds):
    for name in orders.permutation(np.array(list(programs), dtype=object)):
      run(name)
      least[name] = min(least[name], run(name))
  return least[None] / (calls * len(images)), {
    name: least[name] / least[None] for name in detectors
  }


def _forward(classifier, params, images):
  return classifier.outputs(to_pixels(images)).logits


def _forward_and_score(score, classifier, params, images):
  pixels = to_pixels(images)
  outputs = classifier.outputs(pixels)
  return outputs.logits, score(params, classifier, pixels, outputs)


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
