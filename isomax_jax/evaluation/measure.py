"""Detectors fitted and scored on known and unknown sets, and the metrics of both."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from numpy.typing import ArrayLike

from isomax_jax import _checks, metrics
from isomax_jax.detectors import DETECTORS, Batches, Classifier, Detector
from isomax_jax.evaluation.predict import forward, predict, to_pixels
from isomax_jax.typing import Outputs

TEST, VALIDATION = "test", "validation"
"""Names of the known set's own splits among scores."""

Examples = tuple[ArrayLike, ArrayLike]
"""Images, uint8 as stored or pixels of [0, 1] in a floating dtype, and labels."""


class ScoredSet(NamedTuple):
  """A set and the network's outputs for it.

  Attributes:
    images: Images, shape ``[examples, height, width, channels]``: uint8 as stored, or pixels of
      [0, 1] in a floating dtype.
    labels: Class indices, shape ``[examples]``.
    outputs: The network's outputs.
  """

  images: np.ndarray
  labels: np.ndarray
  outputs: Outputs[np.ndarray]


class Fitted(NamedTuple):
  """A detector that is ready to score.

  Attributes:
    detector: The detector.
    params: What its fit returned.
    options: The options that were chosen for it; defaults are left out.
    tuned_on: What the options were chosen on; None where nothing was.
  """

  detector: Detector
  params: Any = ()
  options: Mapping[str, Any] = {}
  tuned_on: str | None = None


class Measurement(NamedTuple):
  """A number, and what it was measured with and on; None where that does not apply."""

  detector: str | None
  out_set: str | None
  metric: str
  value: float
  n_in: int
  n_out: int


class Measured(NamedTuple):
  """What was measured of a network.

  Attributes:
    sets: Every set with its outputs: the known test images under ``"test"``, validation images
      under ``"validation"``, the unknown ones under their names.
    detectors: The fitted detectors, by name.
    refused: Why other detectors could not be fitted, by name.
    scores: From ``"DETECTOR|SET"`` to scores, shape ``[images]``, float64.
    measurements: The numbers.
  """

  sets: dict[str, ScoredSet]
  detectors: dict[str, Fitted]
  refused: dict[str, ValueError]
  scores: dict[str, np.ndarray]
  measurements: list[Measurement]


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

  Every image goes through the network once, and once more for each detector that perturbs it.

  Args:
    classifier: The network; see :class:`isomax_jax.detectors.Classifier`.
    known: Test images of the known classes, and their labels; images are uint8 as stored, which
      become pixels of [0, 1], or floating and what the network is given.
    unknown: Unknown sets by name; their labels are ignored.
    detectors: Detectors by name; fitted ones are taken as they are.
    training: What the network was trained on, for the fits: batches of floating images, labels and
      outputs, that can be iterated again and again.
    held_out: Such batches that it was not trained on, for detectors that are fitted to such.
    validation: Known images that are scored too, but not measured.
    temperature: A temperature fitted on other images, to measure calibrated probabilities too.
    report: Called with what is being done.

  Raises:
    TypeError: If images are neither uint8 nor floating, or batches can be iterated only once.
    ValueError: If a detector's scores are NaN or not one an image, the temperature is not positive,
      or a name is one of the known set's own or holds a ``"|"``.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> classifier = Classifier(lambda x: Outputs(logits=x, features=x), None, {})
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
  if temperature is not None:
    _checks.positive("temperature", temperature)
  for name, batches in (("training", training), ("held_out", held_out)):
    if isinstance(batches, Iterator):
      raise TypeError(
        f"{name} must be batches that can be iterated again, such as a list, got "
        f"{type(batches).__name__}"
      )
  classifier = _as_tree(classifier)
  sets = {}
  known_sets = {TEST: known} | ({} if validation is None else {VALIDATION: validation})
  for name, examples in (known_sets | dict(unknown)).items():
    report(f"forward pass of {name}")
    sets[name] = pass_through(classifier, examples)
  fitted, refused = fit_detectors(detectors, classifier, training, held_out=held_out, report=report)
  scores = score_sets(fitted, classifier, sets, report=report)
  measurements = [*_classification(sets[TEST], temperature), *_detection(scores)]
  return Measured(sets, fitted, refused, scores, measurements)


def _as_tree(classifier: Classifier) -> Classifier:
  """Return a classifier that can be an argument of compiled programs."""
  outputs, head = (
    Partial(each) if callable(each) and not isinstance(each, Partial) else each
    for each in (classifier.outputs, classifier.head)
  )
  return Classifier(outputs, head, classifier.head_params)


def pass_through(classifier: Classifier, examples: Examples) -> ScoredSet:
  """Send images, with their labels, through the network once.

  Example:
    >>> from jax.tree_util import Partial
    >>> classifier = Classifier(Partial(lambda x: Outputs(x, x)), None, {})
    >>> examples = np.ones((3, 2), np.float32), np.zeros(3, int)
    >>> pass_through(classifier, examples).outputs.logits.shape
    (3, 2)
  """
  images, labels = map(np.asarray, examples)
  if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
    raise TypeError(f"images must be uint8 or floating, got dtype {images.dtype}")
  return ScoredSet(images, labels, predict(forward, classifier, images))


def fit_detectors(
  detectors: Mapping[str, Detector | Fitted],
  classifier: Classifier,
  training: Batches,
  *,
  held_out: Batches = (),
  report: Callable[[str], None] = lambda what: None,
) -> tuple[dict[str, Fitted], dict[str, ValueError]]:
  """Fit detectors to known examples; the arguments are those of :func:`measure`.

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
    except Exception as error:
      error.add_note(f"in the fit of {name}")
      raise
  return fitted, refused


def score_sets(
  detectors: Mapping[str, Fitted],
  classifier: Classifier,
  sets: Mapping[str, ScoredSet],
  *,
  batch_size: int = 256,
  report: Callable[[str], None] = lambda what: None,
) -> dict[str, np.ndarray]:
  """Score sets with fitted detectors.

  Returns:
    From ``"DETECTOR|SET"`` to scores, shape ``[examples]``, float64.

  Raises:
    ValueError: If the scores are NaN or not one an image.

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
    score = make_score(fitted.detector, name=name)
    for set_name, scored in sets.items():
      report(f"scoring {set_name} with {name}")
      inputs = (scored.images, scored.outputs)
      try:
        values = predict(score, (fitted.params, classifier), inputs, batch_size=batch_size)
      except Exception as error:
        error.add_note(f"in the score of {name}")
        raise
      if np.isnan(values).any():
        count = np.isnan(values).sum()
        raise ValueError(f"{name} gave NaN for {count} of the {len(values)} images of {set_name}")
      scores[f"{name}|{set_name}"] = values.astype(np.float64)
  return scores


def make_score(detector: Detector, *, name: str = "the detector") -> jax.stages.Wrapped:
  """Make the jitted function that :func:`isomax_jax.evaluation.predict.predict` takes.

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

  @jax.jit
  def score(constants, inputs):
    params, classifier = constants
    images, outputs = inputs
    scores = jnp.asarray(detector.score(params, classifier, to_pixels(images), outputs))
    if scores.shape != images.shape[:1] or jnp.issubdtype(scores.dtype, jnp.complexfloating):
      raise ValueError(
        f"{name} must give a real score for each of {len(images)} images, got shape "
        f"{scores.shape}, dtype {scores.dtype}"
      )
    return scores

  return score


def _classification(test: ScoredSet, temperature: float | None) -> Iterator[Measurement]:
  """Measure the known test images; the temperature does not change the accuracy."""
  logits, labels = test.outputs.logits, test.labels
  probabilistic = metrics.negative_log_likelihood, metrics.expected_calibration_error
  for metric in (metrics.accuracy, *probabilistic):
    yield Measurement(None, None, metric.__name__, metric(logits, labels), len(labels), 0)
  if temperature is None:
    return
  for metric in probabilistic:
    value = metric(logits.astype(np.float64) / temperature, labels)
    yield Measurement(None, None, f"calibrated_{metric.__name__}", value, len(labels), 0)


def _detection(scores: Mapping[str, np.ndarray]) -> Iterator[Measurement]:
  """Compare every detector's scores of the test images with those of each unknown set."""
  for key, out_scores in scores.items():
    detector, _, out_set = key.partition("|")
    if out_set in (TEST, VALIDATION):
      continue
    in_scores = scores[f"{detector}|{TEST}"]
    for metric, value in metrics.detection_metrics(in_scores, out_scores).items():
      yield Measurement(detector, out_set, metric, value, len(in_scores), len(out_scores))
