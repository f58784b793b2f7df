"""Mahalanobis scores against the formula in float64, closed forms, and scikit-learn's weights."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from isomax_jax.detectors import (
  Unsupported,
  create_detector,
  fit_stage_weights,
  mahalanobis,
  stage_scores,
)
from isomax_jax.typing import Outputs
from tests.detectors.networks import (
  MEAN,
  STD,
  draw_images,
  draw_kernel,
  linear_network,
  recorded,
  stage_map,
)

CLASSES = 3


def as_outputs(*stages, classes=CLASSES):
  stages = tuple(jnp.asarray(stage, jnp.float32) for stage in stages)
  return Outputs(jnp.zeros((len(stages[0]), classes)), stages[-1], stages)


def fit(features, labels, *, batch=16, **options):
  """Fit one stage, from batches of a few."""
  batches = [
    (None, labels[i : i + batch], as_outputs(features[i : i + batch], classes=labels.max() + 1))
    for i in range(0, len(features), batch)
  ]
  return mahalanobis(**options).fit(None, iter(batches))


def statistics(features, labels):
  features = np.float64(features)
  means = np.stack([features[labels == c].mean(0) for c in range(labels.max() + 1)])
  residuals = features - means[labels]
  return means, residuals.T @ residuals / len(features)


def expected(features, labels, test, *, inverse=np.linalg.inv):
  """Return ``max_c -½ (f - µ_c)^T Σ^-1 (f - µ_c)`` by direct difference."""
  means, covariance = statistics(features, labels)
  differences = np.float64(test)[:, None] - means
  return -np.einsum("bcd,de,bce->bc", differences, inverse(covariance), differences).min(-1) / 2


def draw(count, dimensions, *, mean=0.0, std=1.0, seed=0):
  generator = np.random.default_rng(seed)
  labels = np.arange(count) % CLASSES
  mix = generator.normal(size=(dimensions, dimensions))
  centres = generator.normal(size=(CLASSES, dimensions))
  features = centres[labels] + generator.normal(size=(count, dimensions)) @ mix
  return np.float32(mean + std * features), labels


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1e3, 1e-2)])
def test_formula(mean, std):
  features, labels = draw(60, 6, mean=mean, std=std)
  test, _ = draw(16, 6, mean=mean, std=3 * std, seed=1)
  scores = mahalanobis().score(fit(features, labels), None, None, as_outputs(test))
  np.testing.assert_allclose(scores, expected(features, labels, test), rtol=1e-4)


def test_two_gaussians():
  # Each class is its mean ± 2 along the first axis, ± .5 along the second: variances 2 and 1/8.
  means = np.array([[0.0, 0.0], [10.0, 4.0]])
  offsets = np.array([[2, 0], [-2, 0], [0, 0.5], [0, -0.5]])
  features, labels = np.concatenate(means[:, None] + offsets), np.repeat([0, 1], 4)
  test = np.array([[0, 0], [2, 0], [0, 1], [10, 4], [9, 5], [5, 2]])
  scores = mahalanobis().score(fit(features, labels), None, None, as_outputs(test))
  right = -0.5 * np.array([0, 4 / 2, 1 * 8, 0, 1 / 2 + 1 * 8, 25 / 2 + 4 * 8])
  np.testing.assert_allclose(scores, right, rtol=1e-5, atol=1e-6)


def test_singular_covariance_takes_the_pseudo_inverse():
  features, labels = draw(60, 4)
  # A constant, a copy and a sum: none adds a dimension.
  extra = np.stack([np.full(60, 0.1), 2 * features[:, 0], features[:, 1] + features[:, 2]], axis=1)
  features = np.concatenate([features, np.float32(extra)], axis=1)
  test = np.float32(3 * features[:8] - 2 * features[8:16])
  scores = mahalanobis().score(fit(features, labels), None, None, as_outputs(test))

  def inverse(covariance):
    return np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)

  right = expected(features, labels, test, inverse=inverse)
  np.testing.assert_allclose(scores, right, rtol=1e-3)
  assert fit(features, labels)[0].matrix.shape == (7, 4)
  # What is off the training data's subspace counts for nothing.
  test[:, 4] += 100
  again = mahalanobis().score(fit(features, labels), None, None, as_outputs(test))
  np.testing.assert_allclose(again, scores, rtol=1e-3)


def test_fewer_examples_than_dimensions():
  features, labels = draw(9, 12)
  params = fit(features, labels)
  assert params[0].matrix.shape == (12, 9 - CLASSES)
  scores = mahalanobis().score(params, None, None, as_outputs(features))
  right = expected(features, labels, features, inverse=lambda c: np.linalg.pinv(c, rcond=1e-10))
  np.testing.assert_allclose(scores, right, rtol=1e-3)


def network_and_params(stages):
  classifier = linear_network(draw_kernel(CLASSES), stages=stages)
  images, labels = draw_images(30, seed=4), np.arange(30) % CLASSES
  params = mahalanobis().fit(classifier, [(images, labels, classifier.outputs(images))])
  return classifier, params, images, labels


def pixels_to_features(images):
  return ((np.float64(images) - MEAN) / STD).reshape(len(images), -1)


@pytest.mark.slow
def test_each_stage_is_scored_at_an_input_of_its_own():
  classifier, params, train, labels = network_and_params(2)
  classifier, seen = recorded(classifier)
  images = draw_images(5, seed=5)
  outputs = classifier.outputs(images)
  seen.clear()
  scores = stage_scores(params, classifier, images, outputs, epsilon=0.01)
  assert len(seen) == 2
  for stage, perturbed in enumerate(seen):
    matrix = np.float64(stage_map(6, stage))
    features = pixels_to_features(train) @ matrix
    means, covariance = statistics(features, labels)
    differences = (pixels_to_features(images) @ matrix)[:, None] - means
    rows = np.einsum("bcd,de->bce", differences, np.linalg.inv(covariance))
    nearest = np.einsum("bcd,bcd->bc", rows, differences).argmin(-1)
    # The gradient of ½ (f - µ)^T P (f - µ) by f is P (f - µ).
    gradient = (rows[np.arange(5), nearest] @ matrix.T).reshape(images.shape)
    right = images - 0.01 * np.where(gradient >= 0, 1, -1)
    np.testing.assert_allclose(perturbed, right, rtol=0, atol=1e-7)
    score = expected(features, labels, pixels_to_features(right) @ matrix)
    np.testing.assert_allclose(scores[:, stage], score, rtol=1e-4)
  unmoved = stage_scores(params, classifier, images, outputs)
  assert (scores > unmoved).all()


@pytest.mark.slow
def test_weights_and_the_last_stage():
  classifier, params, images, _ = network_and_params(3)
  outputs = classifier.outputs(images)
  seen = stage_scores(params, None, None, outputs)
  weighted = mahalanobis(weights=[2, -1, 0.5]).score(params, None, None, outputs)
  np.testing.assert_allclose(weighted, seen @ jnp.array([2, -1, 0.5]), rtol=1e-5)
  last = create_detector("mahalanobis").score(params, None, None, outputs)
  np.testing.assert_array_equal(last, seen[:, -1])
  jitted = jax.jit(lambda *arguments: mahalanobis(epsilon=0.01).score(arguments[0], classifier,
                                                                      *arguments[1:]))  # fmt: skip
  moved = stage_scores(params, classifier, images, outputs, epsilon=0.01)
  np.testing.assert_allclose(jitted(params, images, outputs), moved[:, -1], rtol=1e-4)


def test_without_stages_it_is_the_features():
  features, labels = draw(30, 4)
  outputs = as_outputs(features)
  bare = outputs._replace(stages=())
  params = mahalanobis(weights=[1]).fit(None, [(None, labels, bare)])
  scores = mahalanobis(weights=[1]).score(params, None, None, bare)
  np.testing.assert_allclose(scores, expected(features, labels, features), rtol=1e-4)


def test_stages_that_the_network_lacks():
  features, labels = draw(30, 4)
  outputs = as_outputs(features, features)
  message = "mahalanobis of 3 stages cannot serve a network of 2"
  with pytest.raises(Unsupported, match=f"^{message}$"):
    mahalanobis(weights=[1, 1, 1]).fit(None, [(None, labels, outputs)])
  params = mahalanobis().fit(None, [(None, labels, outputs)])
  with pytest.raises(Unsupported, match=f"^{message}$"):
    mahalanobis(weights=[1, 1, 1]).score(params, None, None, outputs)
  message = "mahalanobis of 2 stages cannot serve a network of 1"
  with pytest.raises(Unsupported, match=f"^{message}$"):
    mahalanobis().score(params, None, None, outputs._replace(stages=()))


def test_bad_data():
  features, labels = draw(9, 4)
  with pytest.raises(
    ValueError, match=r"^mahalanobis needs an example of every class, got none of 1$"
  ):
    fit(features, np.where(labels == 1, 2, labels))
  message = (
    "mahalanobis needs features that vary within a class, got 4 that are constant in each of 3 "
  )
  for constant in (np.full((9, 4), 0.1), np.float32(labels)[:, None] / 3 + np.full((9, 4), 0.1)):
    with pytest.raises(ValueError, match=f"^{message}classes$"):
      fit(constant, labels, batch=2)
  # In float64 the mean of equal numbers may miss them by a rounding.
  outputs = Outputs(np.zeros((30, 3)), np.full((30, 4), np.pi / 30))
  with pytest.raises(ValueError, match=f"^{message}classes$"):
    mahalanobis().fit(None, [(None, np.arange(30) % 3, outputs)])
  with pytest.raises(
    ValueError, match=r"^mahalanobis needs finite features of the training data, got NaN "
  ):
    fit(np.where(np.arange(36).reshape(9, 4) == 5, np.nan, features), labels)


def test_nan_is_not_taken_for_known():
  features, labels = draw(30, 4)
  test = features[:2].copy()
  test[0, 0] = np.nan
  scores = mahalanobis().score(fit(features, labels), None, None, as_outputs(test))
  np.testing.assert_array_equal(np.isnan(scores), [True, False])


def test_stage_weights_equal_scikit_learn():
  generator = np.random.default_rng(0)
  scale, shift = np.array([1.0, 100.0, 1e-2]), np.array([-5.0, -700.0, 0.0])
  in_scores = shift + scale * generator.normal([1, 0.3, 0], size=(80, 3))
  out_scores = shift + scale * generator.normal(size=(50, 3))
  weights = fit_stage_weights(in_scores, out_scores, penalty=2.0)
  scores = np.concatenate([in_scores, out_scores])
  z = (scores - scores.mean(0)) / scores.std(0)
  peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(z, np.repeat([1, 0], [80, 50]))
  np.testing.assert_allclose(weights * scores.std(0), peer.coef_[0], rtol=1e-5)


def test_stage_weights_of_hard_cases():
  # Separable, and a stage that never varies.
  weights = fit_stage_weights([[5.0, 7.0], [6.0, 7.0]], [[-5.0, 7.0], [-6.0, 7.0]])
  assert np.isfinite(weights).all()
  assert weights[0] > 0
  assert weights[1] == 0
  large = np.random.default_rng(0).normal(size=(400, 2))
  np.testing.assert_array_less(0, fit_stage_weights(large + 50, large))


def test_bad_stage_scores():
  good = np.ones((4, 2))
  cases = [
    ((good[0], good), "in_scores must have shape [examples, stages], with one or more, got (2,)"),
    ((good, good[:0]), "out_scores must have shape [examples, stages], with one or more, got (0, "),
    ((good, good * np.inf), "out_scores must be finite, got 8 that are not"),
    ((good, good[:, :1]), "in_scores and out_scores must have the same stages, got 2 and 1"),
  ]
  for arguments, message in cases:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
      fit_stage_weights(*arguments)
  with pytest.raises(ValueError, match=r"^penalty must be a positive, finite number, got 0$"):
    fit_stage_weights(good, good, penalty=0)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"epsilon": -1}, "epsilon must be a finite number of 0 or more, got -1"),
    ({"weights": []}, "weights must be one finite number a stage, got []"),
    ({"weights": [[1.0]]}, "weights must be one finite number a stage, got [[1.0]]"),
    ({"weights": [np.nan]}, "weights must be one finite number a stage, got [nan]"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    mahalanobis(**options)
