import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax.typing import Batch
from tests.training.tiny import CLASSES, prepare


def batch_of(examples, count=8):
  return Batch(
    jnp.asarray(examples.images[:count]),
    jnp.asarray(examples.labels[:count]),
    jnp.arange(count, dtype=jnp.int32),
  )


def test_metrics_are_means_over_the_batch_before_the_step(examples, make_step, make_state):
  state, batch, key = make_state(), batch_of(examples), jax.random.key(3)
  images = prepare(jax.random.fold_in(key, 0), batch)
  outputs, _ = state.apply_fn(state.variables, images, train=True, mutable=["batch_stats"])
  logits = np.asarray(outputs.logits, np.float64)
  scaled = 10 * logits
  log_p = scaled - np.log(np.exp(scaled).sum(-1, keepdims=True))
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

  _, metrics = jax.jit(make_step())(state, batch, key)
  labels = np.asarray(batch.labels)
  np.testing.assert_allclose(metrics["loss"], -log_p[np.arange(8), labels].mean(), rtol=1e-5)
  np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(-1) == labels).mean(), rtol=1e-6)
  np.testing.assert_allclose(metrics["entropy"], -(p * np.log(p)).sum(-1).mean(), rtol=1e-5)


def test_loss_falls_and_statistics_move(examples, make_step, make_state):
  step, state, batch = jax.jit(make_step()), make_state(), batch_of(examples, 40)
  start = jax.device_get(state.batch_stats)
  losses = []
  for _ in range(30):
    state, metrics = step(state, batch, jax.random.key(0))
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.7 * losses[0]
  assert int(state.step) == 30
  changed = jax.tree.map(lambda a, b: bool((a != b).any()), start, state.batch_stats)
  assert all(jax.tree.leaves(changed))


def test_draws_change_with_step_and_key(examples, make_step, make_state):
  step, batch, state = jax.jit(make_step()), batch_of(examples), make_state()
  moved = state.replace(step=jnp.ones((), jnp.int32))

  def mean(state, key):
    """A running mean of BatchNorm, which every image goes into."""
    return float(jnp.sum(step(state, batch, key)[0].batch_stats["BatchNorm_0"]["mean"]))

  means = [mean(state, jax.random.key(0)), mean(state, jax.random.key(1))]
  assert mean(state, jax.random.key(0)) == means[0]
  assert len({*means, mean(moved, jax.random.key(0))}) == 3


def test_a_label_out_of_range_makes_the_loss_nan(examples, make_step, make_state):
  batch = batch_of(examples)
  batch = batch._replace(labels=batch.labels.at[0].set(CLASSES))
  assert np.isnan(jax.jit(make_step())(make_state(), batch, jax.random.key(0))[1]["loss"])
