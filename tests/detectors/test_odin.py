"""ODIN against its formula in float64, on a network whose gradient is known by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import create_detector, odin
from isomax_jax.typing import Outputs
from tests import oracles
from tests.detectors.networks import MEAN, STD, draw_images, draw_kernel, linear_network, recorded


def perturbed(images, kernel, *, temperature, epsilon):
  """Return ``x - ε sign(A (p - e_y))``: the gradient of the cross-entropy of a linear network."""
  images, kernel = np.float64(images), np.float64(kernel)
  logits = ((images - MEAN) / STD).reshape(len(images), -1) @ kernel
  p = oracles.softmax(logits / temperature)
  gradient = (p - np.eye(kernel.shape[1])[logits.argmax(-1)]) @ kernel.T
  sign = np.where(gradient >= 0, 1.0, -1.0)
  return images - epsilon * sign.reshape(images.shape)


def probability(images, kernel, *, temperature):
  logits = ((np.float64(images) - MEAN) / STD).reshape(len(images), -1) @ np.float64(kernel)
  return oracles.softmax(logits / temperature).max(-1)


def as_probability(scores, *, classes, temperature):
  return 1 / (1 + (classes - 1) * np.exp(-np.float64(scores) / temperature))


def score(detector, classifier, images):
  return detector.score((), classifier, images, classifier.outputs(images))


@pytest.mark.slow
@pytest.mark.parametrize(("temperature", "epsilon"), [(1.0, 0.05), (1000.0, 0.0014)])
def test_perturbed_images_and_scores(temperature, epsilon):
  images, kernel = draw_images(4), draw_kernel(3)
  kernel[2] = 0  # a pixel without a gradient: sign +1
  classifier, seen = recorded(linear_network(kernel))
  detector = odin(temperature=temperature, epsilon=epsilon)
  scores = score(detector, classifier, images)
  right = perturbed(images, kernel, temperature=temperature, epsilon=epsilon)
  np.testing.assert_allclose(seen[-1], right, rtol=0, atol=1e-7)
  p = probability(right, kernel, temperature=temperature)
  actual = as_probability(scores, classes=3, temperature=temperature)
  np.testing.assert_allclose(actual, p, rtol=1e-4)
  # In units of the gap, where a temperature of 1,000 would hide an error in the probability.
  gap = -temperature * np.log((1 / p - 1) / 2)
  np.testing.assert_allclose(scores, gap, rtol=1e-4)


@pytest.mark.slow
def test_a_step_raises_the_predicted_probability_and_is_not_clipped():
  images, kernel = np.zeros((4, 2, 3, 1), np.float32), draw_kernel(3)
  images[1:] = 1
  classifier, seen = recorded(linear_network(kernel))
  before = score(odin(temperature=1, epsilon=0), classifier, images)
  after = score(odin(temperature=1, epsilon=0.01), classifier, images)
  assert (after > before).all()
  assert seen[-1].min() < 0
  assert seen[-1].max() > 1


def test_without_a_step_there_is_no_pass():
  logits = jnp.array([[3.0, 1.0, 1.0], [2.0, 2.0, 0.0]])
  outputs = Outputs(logits, jnp.zeros((2, 4)))
  scores = odin(temperature=2, epsilon=0).score((), None, None, outputs)
  right = -2 * np.log([np.exp(-1), (1 + np.exp(-1)) / 2])
  np.testing.assert_allclose(scores, right, rtol=1e-6)


@pytest.mark.parametrize("temperature", [1e-2, 1.0, 1e3, 1e6])
def test_digits_at_every_temperature(temperature):
  gaps = np.float32([[1e-3, 2e-3, 5e-3], [0.1, 0.2, 3.0], [1.0, 1.5, 2.0], [30.0, 40.0, 50.0]])
  logits = jnp.concatenate([jnp.zeros((4, 1)), -gaps], axis=1)
  outputs = Outputs(logits, jnp.zeros((4, 1)))
  scores = odin(temperature=temperature, epsilon=0).score((), None, None, outputs)
  x = -np.longdouble(gaps) / temperature
  right = [
    -temperature * (np.log(np.exp(row).mean()) if row[0] < -1 else np.log1p(np.expm1(row).mean()))
    for row in x
  ]
  np.testing.assert_allclose(scores, np.float64(right), rtol=2e-6)


def test_a_confident_network_keeps_its_direction():
  # The cross-entropy's own gradient, some exp(-2000), is zero in float32: its sign would be +1.
  images, kernel = draw_images(4), 500 * draw_kernel(3)
  classifier, seen = recorded(linear_network(kernel))
  score(odin(temperature=1, epsilon=0.01), classifier, images)
  logits = classifier.outputs(images).logits
  top, second = np.argsort(-np.asarray(logits), axis=-1)[:, :2].T
  sign = np.where(kernel[:, second] - kernel[:, top] >= 0, 1, -1).T
  np.testing.assert_allclose(seen[-2], images - 0.01 * sign.reshape(images.shape), atol=1e-7)


@pytest.mark.slow
def test_one_class_is_certain_and_nan_is_not():
  images = draw_images(4)
  assert np.isposinf(score(odin(), linear_network(draw_kernel(1)), images)).all()
  images[0] = np.nan
  scores = score(odin(), linear_network(draw_kernel(3)), images)
  assert np.isnan(scores[0])
  assert np.isfinite(scores[1:]).all()


def test_in_the_registry_and_jitted():
  images, classifier = draw_images(4), linear_network(draw_kernel(3))
  jitted = jax.jit(lambda images: score(create_detector("odin"), classifier, images))
  right = score(odin(temperature=1000, epsilon=0.0014), classifier, images)
  np.testing.assert_allclose(jitted(images), right, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"temperature": 0}, "temperature must be a positive, finite number, got 0"),
    ({"epsilon": -0.1}, "epsilon must be a finite number of 0 or more, got -0.1"),
    ({"epsilon": "1"}, "epsilon must be a finite number of 0 or more, got '1'"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    odin(**options)
