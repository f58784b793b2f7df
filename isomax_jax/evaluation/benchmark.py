"""Score known and unknown sets with detectors and measure how well they are told apart."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax.detectors import Classifier, Detector
from isomax_jax.evaluation.predict import predict
from isomax_jax.evaluation.runs import TEST, VALIDATION
from isomax_jax.metrics import (
  accuracy,
  detection_metrics,
  expected_calibration_error,
  negative_log_likelihood,
)
from isomax_jax.typing import Outputs


class ScoredSet(NamedTuple):
  """A set that went through the network once.

  Attributes:
    images: Images as stored, shape ``[examples, height, width, channels]``, uint8.
    labels: Class indices, shape ``[examples]``.
    outputs: The network's outputs.
  """

  images: np.ndarray
  labels: np.ndarray
  outputs: Outputs


def score_sets(
  detectors: Mapping[str, Detector],
  classifier: Classifier,
  sets: Mapping[str, ScoredSet],
  *,
  batch_size: int = 256,
) -> dict[str, np.ndarray]:
  """Score sets with detectors; the outputs that are there serve them all.

  Args:
    detectors: Detectors that need no fit, by name.
    classifier: The network.
    sets: The sets, by name.
    batch_size: Examples at a time.

  Returns:
    From ``"DETECTOR|SET"`` to scores, shape ``[examples]``, float64.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> logits = np.array([[0.0, 0.0], [9.0, 0.0]], np.float32)
    >>> outputs = Outputs(logits, features=np.zeros((2, 4), np.float32))
    >>> test = ScoredSet(np.zeros((2, 6, 6, 1), np.uint8), np.array([0, 1]), outputs)
    >>> score_sets({"max_logit": create_detector("max_logit")}, None, {"test": test})
    {'max_logit|test': array([0., 9.])}
  """
  scores = {}
  for name, detector in detectors.items():
    score = jax.jit(partial(_score, detector, classifier))
    params = detector.fit(classifier, ())
    for set_name, scored in sets.items():
      inputs = (scored.images, scored.outputs)
      values = predict(score, params, inputs, batch_size=batch_size)
      scores[f"{name}|{set_name}"] = values.astype(np.float64)
  return scores


def _score(detector, classifier, params, inputs):
  images, outputs = inputs
  return detector.score(params, classifier, images.astype(jnp.float32) / 255, outputs)


class Measurement(NamedTuple):
  """A number, and what it was measured with and on; None where that does not apply."""

  detector: str | None
  out_set: str | None
  metric: str
  value: float
  n_in: int
  n_out: int


def classification_measurements(logits: np.ndarray, labels: np.ndarray) -> Iterator[Measurement]:
  """Measure accuracy, negative log-likelihood and calibration error of the known test images.

  Example:
    >>> logits = np.array([[0.0, 5.0], [5.0, 0.0]])
    >>> next(classification_measurements(logits, np.array([1, 1])))[2:]
    ('accuracy', 0.5, 2, 0)
  """
  for metric in (accuracy, negative_log_likelihood, expected_calibration_error):
    yield Measurement(None, None, metric.__name__, metric(logits, labels), len(labels), 0)


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
