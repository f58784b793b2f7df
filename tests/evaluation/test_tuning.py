"""How options are chosen: on what, and by which images."""

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

from isomax_jax.detectors import Classifier, mahalanobis, odin, stage_scores
from isomax_jax.evaluation import tuning
from isomax_jax.evaluation.measure import Fitted, ScoredSet
from isomax_jax.evaluation.tuning import Candidate, adversarial_examples, tune
from tests.detectors import tiny


@pytest.fixture(scope="module")
def network():
  classifier, training = tiny.make("linear")
  return classifier._replace(
    outputs=Partial(classifier.outputs), head=Partial(classifier.head)
  ), training


def scored(classifier, seed, count):
  images = np.asarray(tiny.draw_images(seed, count))
  outputs = jax.tree.map(np.asarray, jax.jit(classifier.outputs)(images))
  return ScoredSet(images, outputs.logits.argmax(-1), outputs)


def choose(*pairs):
  def grid(classifier, batches, in_validation, surrogate):
    for number, (known, unknown) in enumerate(pairs):
      yield Candidate(Fitted(None, (), {"n": number}), np.array(known), np.array(unknown))

  chosen = tune(grid, None, (), None, None, surrogate_name="noise")
  assert chosen.tuned_on == "noise"
  return chosen.options["n"]


def test_the_most_rejected_then_the_largest_area_then_the_first_is_chosen():
  known = [1.0, 2.0, 3.0]
  assert choose((known, [0.0, 1.5]), (known, [0.0, 0.5]), (known, [1.5, 2.5])) == 1
  assert choose((known, [0.0, 3.5]), (known, [0.0, 1.5]), (known, [1.5, 0.0])) == 1
  assert choose((known, [0.0, 1.5]), (known, [0.0, 1.5])) == 0


@pytest.mark.slow
def test_odin_grid_scores_as_its_detectors_do(network, monkeypatch):
  classifier, _ = network
  monkeypatch.setattr(tuning, "ODIN_TEMPERATURES", (1.0, 1000.0))
  monkeypatch.setattr(tuning, "ODIN_EPSILONS", (0.0, 0.01))
  known, unknown = scored(classifier, 3, 9), scored(classifier, 4, 5)
  candidates = list(tuning.odin_grid(classifier, (), known, unknown))
  assert [c.fitted.options for c in candidates] == [
    {"temperature": t, "epsilon": e} for t in (1.0, 1000.0) for e in (0.0, 0.01)
  ]
  for candidate in candidates:
    detector = odin(**candidate.fitted.options)
    for each, scores in ((known, candidate.in_scores), (unknown, candidate.surrogate_scores)):
      right = detector.score((), classifier, each.images, each.outputs)
      np.testing.assert_allclose(scores, right, rtol=1e-5)


@pytest.mark.slow
def test_mahalanobis_weights_are_fitted_on_half_and_compared_on_the_other(network, monkeypatch):
  classifier, training = network
  monkeypatch.setattr(tuning, "MAHALANOBIS_EPSILONS", (0.0, 0.02))
  known, unknown = scored(classifier, 3, 16), scored(classifier, 4, 11)
  fits = []

  def fit_stage_weights(in_scores, out_scores):
    fits.append((in_scores, out_scores))
    return 2.0, -1.0

  monkeypatch.setattr(tuning, "fit_stage_weights", fit_stage_weights)
  candidates = list(tuning.mahalanobis_grid(classifier, training.batches, known, unknown))
  params = mahalanobis().fit(classifier, training.batches)
  for candidate, fit, epsilon in zip(candidates, fits, (0.0, 0.02), strict=True):
    assert candidate.fitted.options == {"epsilon": epsilon, "weights": (2.0, -1.0)}
    compared = candidate.in_scores, candidate.surrogate_scores
    for each, fitted_on, rest in zip((known, unknown), fit, compared, strict=True):
      scores = stage_scores(params, classifier, each.images, each.outputs, epsilon=epsilon)
      np.testing.assert_allclose(fitted_on, scores[::2], rtol=1e-4)
      np.testing.assert_allclose(rest, scores[1::2] @ np.array([2.0, -1.0]), rtol=1e-4, atol=1e-4)
      detector = candidate.fitted.detector
      of_all = detector.score(candidate.fitted.params, classifier, each.images, each.outputs)
      np.testing.assert_allclose(rest, of_all[1::2], rtol=1e-4, atol=1e-4)


def test_adversarial_examples_were_right_and_are_wrong_now(network):
  classifier, _ = network
  examples = scored(classifier, 5, 32)
  wrong = (examples.labels + 1) % tiny.CLASSES
  examples = examples._replace(labels=np.where(np.arange(32) < 8, wrong, examples.labels))
  found = adversarial_examples(classifier, examples)
  assert 0 < len(found.labels) < 24
  assert (found.outputs.logits.argmax(-1) != found.labels).all()
  assert found.images.dtype == np.float32
  for image, label, logits in zip(found.images, found.labels, found.outputs.logits, strict=True):
    distances = np.abs(examples.images - image).max((1, 2, 3))
    origin = distances.argmin()
    assert origin >= 8
    assert examples.labels[origin] == label
    assert distances[origin] == pytest.approx(0.05, abs=1e-6)
    np.testing.assert_allclose(
      classifier.outputs(image[None]).logits[0], logits, rtol=1e-4, atol=1e-4
    )


def test_without_adversarial_examples_there_is_nothing_to_tune_on(network):
  classifier = Classifier(
    Partial(lambda images: tiny.make("linear")[0].outputs(0 * images)), None, {}
  )
  examples = scored(classifier, 5, 4)
  with pytest.raises(ValueError, match="no adversarial examples to tune on: none of 4 images"):
    adversarial_examples(classifier, examples)
