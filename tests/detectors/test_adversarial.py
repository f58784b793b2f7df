"""The fast gradient sign method against a gradient that is known by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import fgsm
from tests import oracles
from tests.detectors.networks import MEAN, STD, draw_images, draw_kernel, linear_network


def test_formula():
  images, kernel = draw_images(5), draw_kernel(3)
  images[:2] = np.round(images[:2])  # at the pixels' bounds
  kernel[2] = 0  # a pixel without a gradient: sign +1
  labels = np.arange(5) % 3
  logits = ((np.float64(images) - MEAN) / STD).reshape(5, -1) @ np.float64(kernel)
  gradient = (oracles.softmax(logits) - np.eye(3)[labels]) @ np.float64(kernel).T
  right = images + 0.05 * np.where(gradient >= 0, 1, -1).reshape(images.shape)
  adversarial = fgsm(linear_network(kernel), images, jnp.asarray(labels))
  np.testing.assert_allclose(adversarial, np.clip(right, 0, 1), rtol=0, atol=1e-7)
  assert adversarial.dtype == jnp.float32


@pytest.mark.slow
def test_the_loss_grows_though_the_network_is_certain():
  images, kernel = draw_images(4), 100 * draw_kernel(3)
  classifier = linear_network(kernel)
  labels = classifier.outputs(images).logits.argmax(-1)
  before = classifier.outputs(images).logits
  after = classifier.outputs(fgsm(classifier, images, labels, epsilon=0.01)).logits
  gap = np.diff(np.sort(before, axis=-1)[:, -2:])[:, 0]
  assert (gap > 20).all()  # beyond where 1 - p is zero in float32
  top = np.arange(4), np.asarray(labels)
  others = np.where(np.eye(3)[labels] == 1, -np.inf, after)
  assert (np.asarray(after)[top] - others.max(-1) < gap).all()


def test_bad_arguments():
  classifier, images = linear_network(draw_kernel(3)), draw_images(4)
  with pytest.raises(ValueError, match=r"^epsilon must be a finite number of 0 or more, got -1$"):
    fgsm(classifier, images, jnp.zeros(4, int), epsilon=-1)
  with pytest.raises(TypeError, match=r"^images must be floating, got dtype int32$"):
    fgsm(classifier, images.astype(int), jnp.zeros(4, int))
  with pytest.raises(TypeError, match=r"^labels must be integers, got dtype float32"):
    fgsm(classifier, images, jnp.zeros(4))
  with pytest.raises(ValueError, match=r"^labels must have shape \(4,\), got \(3,\)"):
    fgsm(classifier, images, jnp.zeros(3, int))
  adversarial = fgsm(classifier, images, jnp.array([0, 1, 3, -1]))
  np.testing.assert_array_equal(np.isnan(adversarial).all((1, 2, 3)), [False, False, True, True])
