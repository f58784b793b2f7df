import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.data import resident
from isomax_jax.training import (
  Network,
  adversarial_confidence,
  classification,
  exposure,
  fractional_probability,
)
from isomax_jax.training.devices import AXIS, make_runner
from isomax_jax.training.objectives.acet import maximize
from isomax_jax.training.objectives.fractional_probability import make_mosaics
from isomax_jax.typing import Batch, Outputs
from tests.training.tiny import CLASSES, SHAPE, prepare

WEIGHTS = np.random.default_rng(0).normal(size=(2 * 2, CLASSES)).astype(np.float32)
KEY = jax.random.key(0)


class Recorder:
  """A linear network that remembers what it was asked."""

  def __init__(self):
    self.trained, self.inferred = [], 0

  def outputs(self, inputs):
    features = inputs.reshape(len(inputs), -1)
    return Outputs(features @ WEIGHTS, features)

  def train(self, inputs):
    self.trained.append(inputs)
    return self.outputs(inputs), {"seen": len(inputs)}

  def infer(self, inputs):
    self.inferred += 1
    return self.outputs(inputs)

  @property
  def network(self):
    return Network(self.train, self.infer)


def raw(key, batch):
  """Prepare nothing but the type."""
  return jnp.asarray(batch.images, jnp.float32)


@pytest.fixture
def batch():
  generator = np.random.default_rng(1)
  return Batch(
    images=generator.uniform(size=(8, 2, 2, 1)).astype(np.float32),
    labels=jnp.arange(8) % CLASSES,
    positions=jnp.arange(8),
    outliers=generator.uniform(size=(16, 2, 2, 1)).astype(np.float32),
  )


def log_softmax(images, scale):
  scaled = scale * np.asarray(images, np.float64).reshape(len(images), -1) @ WEIGHTS
  return scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))


def test_classification_is_the_cross_entropy(batch):
  recorder = Recorder()
  losses = classification(raw, entropic_scale=3.0)(recorder.network, KEY, batch)
  expected = -log_softmax(batch.images, 3)[np.arange(8), batch.labels]
  np.testing.assert_allclose(losses.values, expected, rtol=1e-5)
  np.testing.assert_array_equal(losses.labels, batch.labels)
  assert losses.batch_stats == {"seen": 8}
  assert recorder.inferred == 0


@pytest.mark.slow
def test_half_of_a_fractional_batch_are_mosaics(batch):
  recorder = Recorder()
  losses = fractional_probability(raw, entropic_scale=3.0)(recorder.network, KEY, batch)
  (inputs,) = recorder.trained
  np.testing.assert_array_equal(inputs, make_mosaics(batch.images))
  log_p = log_softmax(inputs, 3)
  np.testing.assert_allclose(losses.values[:4], -log_p[np.arange(4), batch.labels[:4]], rtol=1e-5)
  shares = np.bincount(batch.labels[4:], minlength=CLASSES) / 4
  divergence = (shares * (np.log(shares) - log_p[4:])).sum(-1)
  np.testing.assert_allclose(losses.values[4:], divergence, rtol=1e-4, atol=1e-6)
  # Accuracy is measured where there is one label.
  np.testing.assert_array_equal(losses.labels, batch.labels[:4])
  np.testing.assert_allclose(losses.logits, recorder.outputs(inputs).logits[:4])


def test_outliers_share_the_forward_pass_and_ask_for_equal_probabilities(batch):
  recorder = Recorder()
  losses = exposure(raw, entropic_scale=3.0, weight=0.5)(recorder.network, KEY, batch)
  (inputs,) = recorder.trained
  np.testing.assert_array_equal(inputs, np.concatenate([batch.images, batch.outliers]))
  cross_entropy = -log_softmax(batch.images, 3)[np.arange(8), batch.labels]
  penalties = -log_softmax(batch.outliers, 3).mean(-1)
  expected = cross_entropy.mean() + 0.5 * penalties.mean()
  np.testing.assert_allclose(losses.values.mean(), expected, rtol=1e-5)
  assert losses.logits.shape == (8, CLASSES)


def test_outliers_are_augmented_by_draws_of_their_own(batch):
  def noisy(key, batch):
    return batch.images + jax.random.normal(key, batch.images.shape)

  recorder = Recorder()
  same = batch._replace(outliers=batch.images)
  exposure(noisy, entropic_scale=1.0)(recorder.network, KEY, same)
  known, outliers = np.split(recorder.trained[0], 2)
  np.testing.assert_array_equal(known, noisy(KEY, batch))
  assert np.all(known != outliers)


@pytest.mark.slow
def test_noise_is_driven_to_confidence_by_inference_and_punished_in_training(batch):
  recorder = Recorder()
  seeds = np.random.default_rng(2).uniform(size=(8, 2, 2, 1)).astype(np.float32)

  def normalize(pixels):
    return 2 * pixels - 1

  objective = adversarial_confidence(
    raw, lambda key, batch: seeds, normalize, entropic_scale=3.0, epsilon=0.1, steps=10
  )
  losses = objective(recorder.network, KEY, batch)
  (inputs,) = recorder.trained
  np.testing.assert_array_equal(inputs[:8], batch.images)
  found = (np.asarray(inputs[8:]) + 1) / 2
  assert np.abs(found - seeds).max() < 0.1 + 1e-6
  assert 0 <= found.min() <= found.max() <= 1 + 1e-6
  confidence = log_softmax(inputs[8:], 3).max(-1)
  assert np.all(confidence > log_softmax(normalize(seeds), 3).max(-1))
  expected = confidence - log_softmax(batch.images, 3)[np.arange(8), batch.labels]
  np.testing.assert_allclose(losses.values, expected, rtol=1e-4, atol=1e-5)
  assert recorder.inferred > 0
  assert losses.logits.shape == (8, CLASSES)


def test_a_linear_function_is_maximised_in_the_corner():
  slope = np.array([1.0, -2.0, 0.5, -0.1], np.float32).reshape(1, 2, 2, 1)
  seeds = jnp.asarray([0.5, 0.5, 0.95, 0.02], jnp.float32).reshape(1, 2, 2, 1)
  best = maximize(lambda x: jnp.sum(slope * x, (1, 2, 3)), seeds, start=seeds, epsilon=0.2, steps=8)
  # As far as epsilon allows, and no farther than pixels go.
  np.testing.assert_allclose(best.ravel(), [0.7, 0.3, 1.0, 0.0], atol=1e-6)


def test_the_best_point_counts_not_the_last():
  seeds = jnp.full((2, 1, 1, 1), 0.5)
  peaks = jnp.array([0.55, 0.5])

  def height(x):
    return -jnp.abs(x[:, 0, 0, 0] - peaks)

  # Steps of .1 from the start at .7: .6, .5, .6, ... none of them on the first peak.
  best = maximize(height, seeds, start=seeds + 0.2, epsilon=0.2, steps=2)
  np.testing.assert_allclose(height(best), [-0.05, 0.0], atol=1e-6)
  worse = maximize(lambda x: jnp.where(x == 0.5, 1.0, 0.0).sum((1, 2, 3)), seeds,
                   start=seeds + 0.1, epsilon=0.2, steps=3)  # fmt: skip
  np.testing.assert_array_equal(worse, seeds)


def test_no_gradient_flows_through_the_search():
  def found(weight):
    seeds = jnp.full((1, 1, 1, 1), 0.5)
    return maximize(
      lambda x: weight * x[:, 0, 0, 0], seeds, start=seeds, epsilon=0.1, steps=2
    ).sum()

  assert jax.grad(found)(2.0) == 0


def test_options_are_checked():
  with pytest.raises(ValueError, match="weight must be a positive, finite number, got 0"):
    exposure(raw, entropic_scale=1.0, weight=0)
  with pytest.raises(ValueError, match="epsilon must be a positive, finite number, got -1"):
    adversarial_confidence(raw, raw, raw, entropic_scale=1.0, epsilon=-1)
  with pytest.raises(ValueError, match="steps must be a positive, finite number, got 0"):
    adversarial_confidence(raw, raw, raw, entropic_scale=1.0, steps=0)


def noise(key, batch):
  keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, batch.positions)
  return jax.vmap(lambda key: jax.random.uniform(key, SHAPE))(keys)


OBJECTIVES = {
  "fractional_probability": fractional_probability(prepare, entropic_scale=10.0),
  "exposure": exposure(prepare, entropic_scale=10.0),
  "adversarial_confidence": adversarial_confidence(
    prepare, noise, lambda pixels: pixels, entropic_scale=10.0, steps=3
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_do_not_depend_on_how_steps_are_spread(examples, make_step, make_state, name):
  def fetch(source, draw):
    batch = resident.fetch(source, draw)
    # Every outlier next to its image, so that both are split alike.
    return batch._replace(outliers=255 - batch.images)

  # Signs of gradients near zero turn with their rounding: the second step's search ends elsewhere.
  steps = 1 if name == "adversarial_confidence" else 2

  def run(strategy, devices):
    axis_name = AXIS if strategy == "pmap" else None
    step = make_step(axis_name, OBJECTIVES[name])
    runner = make_runner(
      step, fetch, strategy=strategy, devices=jax.devices()[:devices], batch_size=32
    )
    state = make_state(axis_name)
    head = jax.random.normal(jax.random.key(2), state.params["head"]["prototypes"].shape)
    params = {**state.params, "head": {"prototypes": head}}
    state = runner.replicate(state.replace(params=params))
    source, key = runner.replicate((examples, jax.random.key(1)))
    draws = resident.draws(len(examples.labels), batch_size=32, seed=0)
    for _ in range(steps):
      draw = runner.place(jax.tree.map(lambda leaf: leaf[None], next(draws)))
      compiled = runner.lower(state, source, draw, key).compile()
      state, metrics = compiled(state, source, draw, key)
    return jax.device_get((state.params, state.batch_stats, metrics))

  pmapped, sharded = run("pmap", 4), run("sharded", 4)
  chex.assert_trees_all_close(sharded, pmapped, rtol=1e-4, atol=1e-6)
  if name == "adversarial_confidence":  # A search on one device as on four.
    chex.assert_trees_all_close(run("sharded", 1), pmapped, rtol=1e-4, atol=1e-6)
