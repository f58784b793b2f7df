"""kNN against all distances in float64."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import knn
from isomax_jax.typing import Outputs
from tests import oracles
from tests.detectors import tiny

MODULE = sys.modules["isomax_jax.detectors._knn"]


def oracle(training, features, k):
  distances = oracles.distances(oracles.normalize(features), oracles.normalize(training))
  return -np.sort(distances, axis=-1)[:, k - 1]


def fit_and_score(training, features, k):
  detector = knn(k=k)
  params = detector.fit(None, tiny.cut(*tiny.arrays(training), batch=50))
  score = jax.jit(lambda params, outputs: detector.score(params, None, None, outputs))
  return score(params, tiny.arrays(features)[2])


def draw(seed, shape):
  return np.float32(np.random.default_rng(seed).exponential(size=shape))


@pytest.mark.parametrize("block", [None, 64])
@pytest.mark.parametrize("k", [1, 9, 150])
def test_equals_all_distances(monkeypatch, block, k):
  if block:  # 150 = 64 + 64 + 22: the last block repeats, and two neighbours a place are 150
    monkeypatch.setattr(MODULE, "_BLOCK", block)
  training, features = draw(0, (150, 8)), draw(1, (11, 8))
  expected = oracle(training, features, k)
  np.testing.assert_allclose(fit_and_score(training, features, k), expected, rtol=1e-5)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3])
def test_small_distances_keep_their_digits(monkeypatch, distance):
  monkeypatch.setattr(MODULE, "_BLOCK", 128)
  generator = np.random.default_rng(0)
  clusters = 1 + generator.exponential(size=(4, 64))
  noise = distance * np.linalg.norm(clusters, axis=-1).mean() / 8
  training, features = (
    np.float32(np.repeat(clusters, 100, 0) + noise * generator.normal(size=(400, 64)))
    for _ in range(2)
  )
  expected = oracle(training, features[::25], 20)
  assert distance / 2 < -expected.mean() < 3 * distance
  scores = fit_and_score(training, features[::25], 20)
  np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_twins_and_the_example_itself():
  training = np.repeat(draw(0, (6, 5)), 3, axis=0)
  scores = fit_and_score(training, 7 * training[:2], 3)
  np.testing.assert_allclose(scores, 0, atol=2e-7)
  assert (fit_and_score(training, training[:2], 4) < -0.01).all()


def test_zero_features_are_where_zero_is():
  training = np.float32([[0, 0], [3, 0], [0, 2]])
  scores = fit_and_score(training, np.float32([[0, 0], [1, 0]]), 2)
  np.testing.assert_allclose(scores, [-1, -1], rtol=1e-6)


@pytest.mark.slow
def test_float64_stays_float64():
  training, features = np.float64(draw(0, (30, 8))), np.float64(draw(1, (4, 8)))
  with jax.enable_x64(True):
    outputs = Outputs(jnp.zeros((30, 2)), jnp.asarray(training))
    detector = knn(k=5)
    params = detector.fit(None, [(None, jnp.zeros(30, int), outputs)])
    scores = detector.score(params, None, None, outputs._replace(features=jnp.asarray(features)))
    np.testing.assert_allclose(scores, oracle(training, features, 5), rtol=1e-12)


def test_memory_of_50_000_examples():
  detector = knn(k=50)
  params = {
    "features": jax.ShapeDtypeStruct((50_000, 512), jnp.float32),
    "centre": jax.ShapeDtypeStruct((512,), jnp.float32),
  }
  outputs = Outputs(
    jax.ShapeDtypeStruct((256, 10), jnp.float32), jax.ShapeDtypeStruct((256, 512), jnp.float32)
  )
  score = jax.jit(lambda params, outputs: detector.score(params, None, None, outputs))
  memory = score.lower(params, outputs).compile().memory_analysis()
  all_distances = 4 * 256 * 50_000
  assert memory.temp_size_in_bytes < all_distances / 2


@pytest.mark.parametrize("k", [0, 1.0, "50"])
def test_bad_k(k):
  message = f"k must be a positive integer, got {k!r}"
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    knn(k=k)


def test_fewer_examples_than_k():
  with pytest.raises(ValueError, match=r"^k must be at most the 20 training examples, got 21$"):
    knn(k=21).fit(None, [tiny.arrays(draw(0, (20, 3)))])
