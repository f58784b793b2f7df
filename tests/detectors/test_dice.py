"""DICE against its formula in float64."""

import re

import numpy as np
import pytest

from isomax_jax.detectors import Classifier, Unsupported, dice
from tests import oracles
from tests.detectors import tiny


@pytest.mark.parametrize("percentile", [0, 37.5, 90.0])
def test_equals_the_formula(percentile):
  generator = np.random.default_rng(0)
  features = np.float32(generator.normal(loc=3, size=(40, 9)))
  kernel, bias = np.float32(generator.normal(size=(9, 5))), np.float32(generator.normal(size=5))
  classifier = Classifier(None, None, {"kernel": kernel, "bias": bias})
  detector = dice(percentile=percentile)
  data = tiny.arrays(features)
  params = detector.fit(classifier, tiny.cut(*data, batch=7))
  features, kernel = np.float64(features), np.float64(kernel)
  contributions = features.mean(0)[:, None] * kernel
  sparse = np.where(contributions > np.percentile(contributions, percentile), kernel, 0)
  np.testing.assert_array_equal(params["kernel"], sparse)
  scores = detector.score(params, None, None, data[2])
  np.testing.assert_allclose(scores, oracles.energy(features @ sparse + bias), rtol=1e-5)


def test_a_tenth_of_the_weights_is_the_default():
  classifier, training = tiny.make("linear")
  params = dice().fit(classifier, training.batches)
  assert np.count_nonzero(params["kernel"]) == np.ceil(0.1 * params["kernel"].size)


@pytest.mark.parametrize(
  ("head_params", "has"),
  [({"prototypes": np.zeros((2, 2))}, "prototypes"), (np.ones(3), "ndarray")],
)
def test_another_head(head_params, has):
  message = f"^dice needs a linear head, with kernel and bias; this one has {has}$"
  with pytest.raises(Unsupported, match=message):
    dice().fit(Classifier(None, None, head_params), ())


def test_no_weight_left():
  classifier = Classifier(None, None, {"kernel": np.ones((3, 2)), "bias": np.ones(2)})
  message = (
    "dice keeps the weights that contribute more than the percentile 90.0 of all, 0.0: "
    "there is none"
  )
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    dice().fit(classifier, [tiny.arrays(np.zeros((4, 3)))])


def test_bad_percentile():
  with pytest.raises(ValueError, match=r"^percentile must be a number from 0 to 100, got None$"):
    dice(percentile=None)
