import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isomax_jax.training import OptimConfig
from isomax_jax.training.optim import learning_rates, sgd


def train(optimizer, gradients, params, **extra):
  """Return parameters and the optimiser's state after each update, as compiled code makes them."""

  @jax.jit
  def step(params, state, gradient, extra):
    updates, state = optimizer.update(gradient, state, params, **extra)
    return optax.apply_updates(params, updates), state

  state, seen = optimizer.init(params), []
  for gradient in gradients:
    params, state = step(params, state, jnp.asarray(gradient, jnp.float32), extra)
    seen.append((params, state))
  return seen


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

  rates = learning_rates(config, total_steps=8)
  seen = train(sgd(config), gradients, jnp.array([1.0, -2.0, 3.0]), learning_rates=rates)
  for (params, _), weights in zip(seen, expected, strict=True):
    np.testing.assert_allclose(params, weights, rtol=1e-5)


def test_arguments_of_what_it_is_chained_with_are_not_refused():
  config = OptimConfig()
  chained = optax.chain(sgd(config), optax.scale(2.0))
  rates = learning_rates(config, total_steps=8)
  alone, both = (
    train(each, [[1.0]], jnp.array([1.0]), learning_rates=rates, value=0.5)
    for each in (sgd(config), chained)
  )
  assert float(alone[0][0][0]) == pytest.approx(0.81, abs=1e-4)
  assert float(both[0][0][0]) == pytest.approx(0.62, abs=1e-4)


@pytest.mark.parametrize(
  ("milestones", "boundaries"),
  [
    ((1 / 2, 2 / 3, 5 / 6), {12: 0.3, 16: 0.3, 20: 0.3}),
    ((5 / 6, 0.01), {0: 0.3, 20: 0.3}),  # In any order, and one before the first update.
    ((0.49, 0.5, 0.51, 0.9), {12: 0.3 * 0.3 * 0.3, 22: 0.3}),  # Three round to the same step.
    ((), {}),
  ],
)
def test_every_bit_is_that_of_optax_with_the_schedule_built_in(milestones, boundaries):
  """Rates, parameters and state, over a whole run."""
  config = OptimConfig(learning_rate=0.07, decay=0.3, milestones=milestones)
  schedule = optax.piecewise_constant_schedule(0.07, boundaries)
  built_in = optax.chain(
    optax.add_decayed_weights(config.weight_decay),
    optax.sgd(schedule, momentum=config.momentum, nesterov=True),
  )
  gradients = np.random.default_rng(0).normal(size=(24, 3))
  params = jnp.array([1.0, -2.0, 3.0])
  rates = learning_rates(config, total_steps=24)
  assert [leaf.dtype for leaf in rates] == [np.int32, np.float32]
  chex.assert_trees_all_equal(
    train(sgd(config), gradients, params, learning_rates=rates),
    train(built_in, gradients, params),
  )


def test_a_state_without_learning_rates_says_so(make_state):
  state = make_state().replace(learning_rates=())
  with pytest.raises(TypeError, match=r"^learning_rates must be LearningRates, got \(\)$"):
    state.apply_gradients(grads=state.params)


def test_every_parameter_decays(make_state):
  state = make_state()
  zero = jax.tree.map(np.zeros_like, state.params)
  after = state.apply_gradients(grads=zero, batch_stats=state.batch_stats)
  before = jax.tree.leaves(state.params)
  changed = [
    bool((a != b).any()) for a, b in zip(before, jax.tree.leaves(after.params), strict=True)
  ]
  assert changed == [bool(np.any(leaf)) for leaf in before]
