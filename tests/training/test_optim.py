import jax
import numpy as np
import optax

from isomax_jax.training import OptimConfig
from isomax_jax.training.optim import sgd


def test_steps_equal_sgd_written_out():
  """As PyTorch documents its SGD: decay, momentum buffer, Nesterov look-ahead, stepped rate."""
  config = OptimConfig(
    learning_rate=0.1, momentum=0.9, weight_decay=0.01, milestones=(0.5, 0.75), decay=0.1
  )
  gradients = np.random.default_rng(0).normal(size=(8, 3))
  weights, buffer, expected = np.array([1.0, -2.0, 3.0]), np.zeros(3), []
  for step, gradient in enumerate(gradients):
    decayed = gradient + 0.01 * weights
    buffer = 0.9 * buffer + decayed
    rate = 0.1 * (0.1 if step >= 4 else 1) * (0.1 if step >= 6 else 1)
    weights = weights - rate * (decayed + 0.9 * buffer)
    expected.append(weights)

  optimizer = sgd(config, total_steps=8)
  params = jax.numpy.array([1.0, -2.0, 3.0])
  state = optimizer.init(params)
  for gradient, weights in zip(gradients, expected, strict=True):
    updates, state = optimizer.update(jax.numpy.asarray(gradient, "float32"), state, params)
    params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, weights, rtol=1e-5)


def test_milestones_that_fall_together_decay_twice():
  optimizer = sgd(OptimConfig(milestones=(0.5, 0.6), momentum=0.0, weight_decay=0.0), total_steps=2)
  params = jax.numpy.ones(1)
  state = optimizer.init(params)
  rates = []
  for _ in range(2):
    updates, state = optimizer.update(jax.numpy.ones(1), state, params)
    rates.append(-float(updates[0]))
  np.testing.assert_allclose(rates, [0.1, 0.001], rtol=1e-6)


def test_every_parameter_decays(make_state):
  state = make_state()
  zero = jax.tree.map(np.zeros_like, state.params)
  after = state.apply_gradients(grads=zero, batch_stats=state.batch_stats)
  before = jax.tree.leaves(state.params)
  changed = [
    bool((a != b).any()) for a, b in zip(before, jax.tree.leaves(after.params), strict=True)
  ]
  assert changed == [bool(np.any(leaf)) for leaf in before]
