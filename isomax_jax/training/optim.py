"""The paper's optimiser and learning-rate schedule."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from isomax_jax.training.config import OptimConfig
from isomax_jax.typing import AnyArray


class LearningRates(NamedTuple):
  """The learning rates of a run, as arguments of a compiled step that runs of any length share.

  Attributes:
    starts: The step at which each begins, shape ``[k + 1]``, int32, ascending from 0.
    values: The learning rates, shape ``[k + 1]``, float32.
  """

  starts: AnyArray
  values: AnyArray


def learning_rates(config: OptimConfig, *, total_steps: int) -> LearningRates:
  """Return the rates of ``optax.piecewise_constant_schedule``, in NumPy arrays.

  Example:
    >>> rates = learning_rates(OptimConfig(milestones=(0.5, 0.75)), total_steps=100)
    >>> print(rates.starts, rates.values)
    [ 0 50 75] [0.1   0.01  0.001]
  """
  factors: dict[int, float] = {}
  for milestone in config.milestones:
    start = round(milestone * total_steps)
    factors[start] = factors.get(start, 1.0) * config.decay
  starts = sorted(factors)
  return LearningRates(
    starts=np.array([0, *starts], np.int32),
    # Multiplied one by one in float32, as optax does.
    values=np.cumprod(
      [config.learning_rate, *(factors[start] for start in starts)], dtype=np.float32
    ),
  )


def sgd(config: OptimConfig) -> optax.GradientTransformationExtraArgs:
  """Create SGD with Nesterov momentum and weight decay on every parameter.

  The decay is added to the gradient before the momentum, as in PyTorch's SGD.

  Returns:
    An optax transformation whose ``update`` takes ``learning_rates``, a :class:`LearningRates`, and
    raises TypeError for anything else. Its state is that of ``optax.sgd`` with a schedule.

  Example:
    >>> config = OptimConfig(weight_decay=0.5, momentum=0.0)
    >>> optimizer, rates = sgd(config), learning_rates(config, total_steps=10)
    >>> params = jnp.array([2.0])
    >>> updates, _ = optimizer.update(
    ...     jnp.array([1.0]), optimizer.init(params), params, learning_rates=rates)
    >>> print(updates)
    [-0.2]
  """

  def scheduled(schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(
      optax.add_decayed_weights(config.weight_decay),
      optax.sgd(schedule, momentum=config.momentum, nesterov=True),
    )

  def update(updates, state, params=None, *, learning_rates: Any = None, **others: Any):
    del others  # Arguments of what this is chained with, which optax hands to all.
    if not isinstance(learning_rates, LearningRates):
      raise TypeError(f"learning_rates must be LearningRates, got {learning_rates!r}")

    def rate(count):
      return jnp.take(learning_rates.values, jnp.sum(count >= learning_rates.starts) - 1)

    return scheduled(rate).update(updates, state, params)

  return optax.GradientTransformationExtraArgs(scheduled(optax.constant_schedule(0.0)).init, update)
