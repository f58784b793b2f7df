"""The paper's optimiser."""

import optax

from isomax_jax.training.config import OptimConfig


def sgd(config: OptimConfig, *, total_steps: int) -> optax.GradientTransformation:
  """Create SGD with Nesterov momentum, weight decay on every parameter and a stepped rate.

  The decay is added to the gradient before the momentum, as in PyTorch's SGD.

  Args:
    config: The optimiser's options.
    total_steps: Steps of the run; milestones are fractions of it.

  Returns:
    An optax transformation.

  Example:
    >>> import jax.numpy as jnp
    >>> optimizer = sgd(OptimConfig(weight_decay=0.5, momentum=0.0), total_steps=10)
    >>> params = jnp.array([2.0])
    >>> updates, _ = optimizer.update(jnp.array([1.0]), optimizer.init(params), params)
    >>> print(updates)
    [-0.2]
  """
  scales: dict[int, float] = {}
  for milestone in config.milestones:
    boundary = round(milestone * total_steps)
    scales[boundary] = scales.get(boundary, 1.0) * config.decay
  schedule = optax.piecewise_constant_schedule(config.learning_rate, scales)
  return optax.chain(
    optax.add_decayed_weights(config.weight_decay),
    optax.sgd(schedule, momentum=config.momentum, nesterov=True),
  )
