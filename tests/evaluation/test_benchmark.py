"""The harness around detectors, on tiny networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from isomax_jax.detectors import Classifier, Detector, Unsupported, create_detector, odin
from isomax_jax.evaluation.benchmark import (
  Fitted,
  ScoredSet,
  fit_detectors,
  make_score,
  relative_times,
  score_sets,
)
from isomax_jax.typing import Outputs
from tests.detectors import tiny


@pytest.fixture(scope="module")
def network():
  return tiny.make("isomax")


def stored(images):
  return np.asarray(np.clip(np.round(255 * images), 0, 255), np.uint8)


def as_arguments(classifier):
  return Classifier(Partial(classifier.outputs), Partial(classifier.head), classifier.head_params)


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
  with pytest.raises(ValueError, match="max_logit scored 1 of the 2 images of letters NaN"):
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
