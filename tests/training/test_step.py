from functools import partial

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isomax_jax.heads import IsoMaxHead
from isomax_jax.training import classification, create_state, train_step
from isomax_jax.typing import Batch, Outputs
from tests.training.tiny import CLASSES, SHAPE, prepare


def batch_of(examples, count=8):
  return Batch(
    jnp.asarray(examples.rows[:count]).reshape(-1, *examples.example_shape),
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


@pytest.mark.parametrize(
  ("change", "error", "message"),
  [
    (tuple, TypeError, "an objective must return Losses, got tuple"),
    (
      lambda losses: losses._replace(values=losses.values.mean()),
      ValueError,
      "got shapes \\(\\), ",
    ),
    (lambda losses: losses._replace(labels=losses.labels[:, None]), ValueError, "and \\(8, 1\\)"),
    (lambda losses: losses._replace(labels=losses.labels[:1]), ValueError, "and \\(1,\\)"),
    (lambda losses: losses._replace(logits=losses.logits[0]), ValueError, "got shapes "),
  ],
)
def test_what_an_objective_returns_is_checked(examples, make_state, change, error, message):
  right = classification(prepare, entropic_scale=10.0)
  batch = jax.tree.map(lambda rows: rows[:8], batch_of(examples))
  wrong = lambda *arguments: change(right(*arguments))  # noqa: E731
  with pytest.raises(error, match=message):
    jax.jit(partial(train_step, objective=wrong))(make_state(), batch, jax.random.key(0))


class Plain(nn.Module):
  """No BatchNorm: an example's gradient does not depend on the others."""

  @nn.compact
  def __call__(self, images, *, train):
    features = nn.Dense(4)(images.reshape(len(images), -1))
    return Outputs(IsoMaxHead(CLASSES, name="head")(features), features)


@pytest.mark.slow
def test_parts_of_a_batch_make_the_step_of_the_whole(examples, make_step):
  state = create_state(Plain(), optax.sgd(0.1), jax.random.key(0), SHAPE)
  batch, key = batch_of(examples, 12), jax.random.key(3)
  (whole, metrics), (parts, part_metrics) = (
    jax.jit(make_step(accumulate=n))(state, batch, key) for n in (1, 3)
  )
  assert int(parts.step) == 1
  chex.assert_trees_all_close(parts.params, whole.params, rtol=1e-5, atol=1e-7)
  chex.assert_trees_all_close(part_metrics, metrics, rtol=1e-5)


@pytest.mark.slow
def test_statistics_go_from_part_to_part(examples, make_step, make_state):
  """Every other row is a part; the second starts from the statistics of the first."""
  state, batch, key = make_state(), batch_of(examples, 12), jax.random.key(3)
  step = jax.jit(make_step())
  first, first_metrics = step(state, jax.tree.map(lambda rows: rows[::2], batch), key)
  second, second_metrics = step(
    state.replace(batch_stats=first.batch_stats), jax.tree.map(lambda rows: rows[1::2], batch), key
  )
  actual, metrics = jax.jit(make_step(accumulate=2))(state, batch, key)
  chex.assert_trees_all_close(actual.batch_stats, second.batch_stats, rtol=1e-5)
  mean = jax.tree.map(lambda a, b: (a + b) / 2, first_metrics, second_metrics)
  chex.assert_trees_all_close(metrics, mean, rtol=1e-5)
  # The first step of SGD is linear in the gradient.
  expected = jax.tree.map(lambda a, b: (a + b) / 2, first.params, second.params)
  chex.assert_trees_all_close(actual.params, expected, rtol=1e-5, atol=1e-7)
