"""The harness around detectors, on tiny networks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from isomax_jax import metrics
from isomax_jax.detectors import (
  DETECTORS,
  Classifier,
  Detector,
  DetectorEntry,
  Unsupported,
  create_detector,
  odin,
)
from isomax_jax.evaluation.measure import (
  Fitted,
  ScoredSet,
  fit_detectors,
  make_score,
  measure,
  score_sets,
)
from isomax_jax.evaluation.timing import relative_times
from isomax_jax.typing import Outputs
from tests.detectors import tiny


@pytest.fixture(scope="module")
def network():
  return tiny.make("isomax")


def stored(images):
  return np.asarray(np.clip(np.round(255 * images), 0, 255), np.uint8)


def as_arguments(classifier):
  return Classifier(Partial(classifier.outputs), Partial(classifier.head), classifier.head_params)


@pytest.mark.slow
def test_sets_are_scored_as_pixels_whole_and_in_order(network):
  classifier = as_arguments(network[0])
  images = stored(tiny.draw_images(2, 7))
  outputs = classifier.outputs(images.astype(np.float32) / 255)
  scored = ScoredSet(images, np.zeros(7, int), jax.tree.map(np.asarray, outputs))
  fitted = {"odin": Fitted(odin(epsilon=0.01))}
  scores = score_sets(fitted, classifier, {"test": scored}, batch_size=4)
  right = odin(epsilon=0.01).score((), classifier, images.astype(np.float32) / 255, outputs)
  np.testing.assert_allclose(scores["odin|test"], right, rtol=1e-5)
  assert scores["odin|test"].dtype == np.float64
  pixels = scored._replace(images=images.astype(np.float32) / 255)
  np.testing.assert_allclose(
    score_sets(fitted, classifier, {"test": pixels}, batch_size=4)["odin|test"],
    scores["odin|test"],
    rtol=1e-5,
  )


def test_what_cannot_be_fitted_is_told_and_the_rest_goes_on(network):
  classifier, training = network
  names = ("energy", "vim", "she", "knn")
  detectors = {name: create_detector(name) for name in names}
  one_class = [
    (images[labels == 0], labels[labels == 0], jax.tree.map(lambda x, at=labels == 0: x[at], out))
    for images, labels, out in training.batches
  ]
  said = []
  fitted, refused = fit_detectors(detectors, classifier, one_class, report=said.append)
  assert set(refused) == {"vim", "she", "knn"}
  assert isinstance(refused["vim"], Unsupported)
  assert "there is none of 3, class 1 the first" in str(refused["she"])
  assert set(fitted) == {"energy"}
  assert fitted["energy"].params == ()
  assert said == [f"fitting {name}" for name in names]


def test_a_score_that_is_nan_stops_with_detector_and_set():
  logits = np.array([[0, 1], [np.nan, 1]], np.float32)
  scored = ScoredSet(
    np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2, int), Outputs(logits, np.zeros((2, 1)))
  )
  with pytest.raises(ValueError, match="max_logit gave NaN for 1 of the 2 images of letters"):
    score_sets({"max_logit": Fitted(create_detector("max_logit"))}, None, {"letters": scored})


def test_weights_are_arguments_of_the_program_not_constants():
  weights = jnp.ones((12, 1000))

  def outputs(weights, images):
    return Outputs(images.reshape(-1, 12) @ weights, images.reshape(-1, 12))

  classifier = Classifier(Partial(outputs, weights), Partial(lambda params, x: x), {})
  images = jnp.zeros((2, 2, 2, 3), jnp.uint8)
  of_images = jax.eval_shape(classifier.outputs, images)
  score = make_score(odin(epsilon=0.1))
  program = score.lower(((), classifier), (images, of_images)).as_text()
  assert "tensor<12x1000xf32>" in program.partition("{")[2].partition("->")[0]
  assert "dense<1.000000e+00> : tensor<12x1000xf32>" not in program


def points(seed, count, *, size=1.0):
  """Return examples of two numbers, which are their own logits, and the likelier class."""
  values = np.float32(size * np.random.default_rng(seed).normal(size=(count, 2)))
  return values, values.argmax(-1)


def identity():
  """Return a classifier whose logits are its input."""
  return Classifier(Partial(lambda x: Outputs(x, x)), Partial(lambda params, x: x), {})


def entropic(logits):
  p = np.exp(np.float64(logits)) / np.exp(np.float64(logits)).sum(-1, keepdims=True)
  return (p * np.log(p)).sum(-1)


def test_a_classifier_and_arrays_are_all_that_is_measured():
  known, unknown, validation = points(0, 30), points(1, 20, size=0.1), points(2, 7)
  labels = np.where(np.arange(30) < 6, 1 - known[1], known[1])
  detectors = {name: create_detector(name) for name in ("entropic_score", "vim")}
  said = []
  measured = measure(
    identity(),
    (known[0], labels),
    {"small": unknown},
    detectors,
    validation=validation,
    temperature=0.5,
    report=said.append,
  )
  assert list(measured.sets) == ["test", "validation", "small"]
  for scored, (values, _) in zip(measured.sets.values(), (known, validation, unknown), strict=True):
    np.testing.assert_array_equal(scored.outputs.logits, values)
  assert list(measured.detectors) == ["entropic_score"]
  assert list(measured.refused) == ["vim"]  # There was nothing to fit it to.
  scores = measured.scores
  assert set(scores) == {f"entropic_score|{name}" for name in measured.sets}
  for name, (values, _) in (("test", known), ("validation", validation), ("small", unknown)):
    np.testing.assert_allclose(scores[f"entropic_score|{name}"], entropic(values), rtol=1e-5)
  numbers = {(m.detector, m.out_set, m.metric): m for m in measured.measurements}
  assert len(numbers) == len(measured.measurements) == 5 + 6
  assert numbers[None, None, "accuracy"].value == 24 / 30
  nll = metrics.negative_log_likelihood(known[0] / 0.5, labels)
  calibrated = numbers[None, None, "calibrated_negative_log_likelihood"]
  assert calibrated.value == pytest.approx(nll, rel=1e-6)
  assert {(m.n_in, m.n_out) for m in measured.measurements if m.detector is None} == {(30, 0)}
  in_scores, out_scores = (scores[f"entropic_score|{name}"] for name in ("test", "small"))
  detections = [m for m in measured.measurements if m.detector is not None]
  assert {(m.detector, m.out_set, m.n_in, m.n_out) for m in detections} == {
    ("entropic_score", "small", 30, 20)
  }
  for detection in detections:
    assert detection.value == getattr(metrics, detection.metric)(in_scores, out_scores)
  assert said[:4] == [
    "forward pass of test", "forward pass of validation", "forward pass of small",
    "fitting entropic_score",
  ]  # fmt: skip


def test_a_classifier_of_plain_functions_serves():
  plain = Classifier(lambda x: Outputs(x, x), lambda params, x: x, {})
  known, unknown = points(0, 30), {"small": points(1, 20, size=0.1)}
  detectors = {"odin": odin(epsilon=0.01)}
  scores = [measure(each, known, unknown, detectors).scores for each in (plain, identity())]
  np.testing.assert_array_equal(scores[0]["odin|small"], scores[1]["odin|small"])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, bool, complex])
def test_images_are_bytes_or_floating(dtype):
  known = np.zeros((3, 2), dtype), np.zeros(3, int)
  with pytest.raises(
    TypeError, match=f"^images must be uint8 or floating, got dtype {np.dtype(dtype)}"
  ):
    measure(identity(), known, {}, {})


@pytest.mark.parametrize("name", ["training", "held_out"])
def test_batches_that_can_be_iterated_once_are_refused(name):
  with pytest.raises(TypeError, match=f"^{name} must be .* again, such as a list, got generator$"):
    measure(identity(), points(0, 3), {}, {}, **{name: (batch for batch in [])})


@pytest.mark.parametrize(
  ("score", "got"),
  [
    (lambda outputs: outputs.logits, r"\(256, 2\), dtype float32"),
    (lambda outputs: outputs.logits[:100, 0], r"\(100,\), dtype float32"),
    (lambda outputs: jnp.tile(outputs.logits[:, 0], 2), r"\(512,\), dtype float32"),
    (lambda outputs: jnp.max(outputs.logits), r"\(\), dtype float32"),
    (lambda outputs: outputs.logits[:, 0] * 1j, r"\(256,\), dtype complex64"),
  ],
)
def test_what_is_no_score_of_each_image_names_the_detector(score, got):
  wrong = Detector(fit=None, score=lambda params, classifier, images, outputs: score(outputs))
  message = f"^mine must give a real score for each of 256 images, got shape {got}"
  with pytest.raises(ValueError, match=message):
    measure(identity(), points(0, 300), {}, {"mine": Fitted(wrong)})


@pytest.mark.parametrize("temperature", [-1.0, 0.0, np.nan, np.array([1.0, 2.0])])
def test_a_temperature_is_positive(temperature):
  with pytest.raises(ValueError, match=r"^temperature must be a positive, finite number, got "):
    measure(identity(), points(0, 3), {}, {}, temperature=temperature)


def test_a_fitted_detector_is_taken_as_it_is():
  detector = Detector(fit=None, score=lambda params, c, images, out: params * out.logits[:, 0])
  fitted = Fitted(detector, jnp.array(3.0), {"factor": 3}, "noise")
  known = points(0, 5)
  measured = measure(identity(), known, {"other": points(1, 4)}, {"factor": fitted})
  assert measured.detectors == {"factor": fitted}
  np.testing.assert_allclose(measured.scores["factor|test"], 3 * known[0][:, 0], rtol=1e-6)


def test_a_detector_gets_the_examples_that_its_record_asks_for(monkeypatch):
  seen = {}

  def noting(name):
    def fit(classifier, batches):
      seen[name] = [labels.tolist() for _, labels, _ in batches]
      return ()

    return Detector(fit=fit, score=lambda params, classifier, images, outputs: images[:, 0])

  names = {"held": "held_out", "trained": "training", "neither": None}
  for name, fit_on in names.items():
    entry = DetectorEntry(name, lambda name=name: noting(name), name, fit_on=fit_on)
    monkeypatch.setitem(DETECTORS._entries, name, entry)

  def batch(seed, count):
    values, labels = points(seed, count)
    return values, labels, Outputs(values, values)

  training, held_out = [batch(2, 6), batch(3, 2)], [batch(4, 5)]
  measured = measure(
    identity(),
    points(0, 5),
    {"other": points(1, 4)},
    {name: create_detector(name) for name in names} | {"nameless": noting("nameless")},
    training=training,
    held_out=held_out,
  )
  assert not measured.refused
  in_training, in_held_out = (
    [labels.tolist() for _, labels, _ in batches] for batches in (training, held_out)
  )
  assert seen.pop("held") == in_held_out
  assert seen == dict.fromkeys(("trained", "neither", "nameless"), in_training)


@pytest.mark.parametrize("name", ["test", "validation", "a|b"])
def test_a_name_that_scores_could_not_tell_from_others_is_refused(name):
  detectors = {"energy": create_detector("energy")}
  message = rf"^{re.escape(repr(name))} can be the name of no unknown set and no detector$"
  known, other = points(0, 5), points(1, 4)
  with pytest.raises(ValueError, match=message):
    measure(identity(), known, {name: other}, detectors)
  with pytest.raises(ValueError, match=message):
    measure(identity(), known, {"other": other}, {name: detectors["energy"]})


def test_times_are_of_forward_pass_and_score_together(network):
  calls = []

  def score(params, classifier, images, outputs):
    calls.append((images.dtype, outputs.logits.shape))
    return outputs.logits[:, 0]

  fitted = {"first": Fitted(Detector(fit=None, score=score))}
  images = stored(tiny.draw_images(2, 8))
  seconds, times = relative_times(fitted, as_arguments(network[0]), images, rounds=3)
  assert calls == [(jnp.float32, (8, tiny.CLASSES))]  # traced once: compiled before it is timed
  assert seconds > 0
  assert list(times) == ["first"]
  assert times["first"] > 0
