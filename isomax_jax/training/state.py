"""The train state."""

from collections.abc import Mapping
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax.training import train_state

from isomax_jax.typing import Outputs


class TrainState(train_state.TrainState):
  """A Flax train state with BatchNorm's running statistics and the learning rates.

  All randomness of a step is folded with ``step``, so no random state is kept. The learning rates
  are those of :mod:`isomax_jax.training.optim`, or nothing for an optimiser that takes none. They
  follow from the config, and no checkpoint holds them.
  """

  batch_stats: Any
  learning_rates: Any = ()

  @property
  def variables(self) -> dict[str, Any]:
    """The collections that ``apply_fn`` takes."""
    return {"params": self.params, "batch_stats": self.batch_stats}

  def apply_gradients(self, *, grads: Any, **changes: Any) -> Self:
    """Let the optimiser take a step.

    Args:
      grads: Gradient, a tree like ``params``.
      **changes: Other fields of the new state.

    Returns:
      The state after it.
    """
    updates, opt_state = optax.with_extra_args_support(self.tx).update(
      grads, self.opt_state, self.params, learning_rates=self.learning_rates
    )
    return self.replace(
      step=self.step + 1,
      params=optax.apply_updates(self.params, updates),
      opt_state=opt_state,
      **changes,
    )


def initial_variables(
  model: nn.Module, key: jax.Array, example_shape: tuple[int, ...]
) -> dict[str, Any]:
  """Initialise parameters and statistics, and check that the network is one.

  Args:
    model: A network of :mod:`isomax_jax.models`.
    key: Random key of the initial parameters.
    example_shape: Shape of an example: height, width and channels of an image.

  Returns:
    The collections ``params`` and ``batch_stats``.

  Raises:
    ValueError: If the network does not give ``Outputs``, or its head is not where it has to be.

  Example:
    >>> from isomax_jax.models import create_model
    >>> model = create_model("small_cnn", num_classes=8)
    >>> shapes = jax.eval_shape(lambda: initial_variables(model, jax.random.key(0), (28, 28, 1)))
    >>> shapes["params"]["head"]["prototypes"].shape
    (8, 64)
  """

  @jax.jit
  def initialise(key, examples):
    outputs, variables = model.init_with_output(key, examples, train=False)
    _check_network(model, outputs, variables)
    return variables

  return {"batch_stats": {}, **initialise(key, jnp.zeros((1, *example_shape)))}


def _check_network(model: nn.Module, outputs: Any, variables: Mapping[str, Any]) -> None:
  """Raise ValueError unless a network gives what detectors, and all that is kept of it, rest on."""
  name = type(model).__name__
  if not isinstance(outputs, Outputs):
    raise ValueError(f"{name} must return isomax_jax.typing.Outputs, got {type(outputs).__name__}")
  for field in ("features", "logits"):
    shape = jnp.shape(getattr(outputs, field))
    if len(shape) != 2 or shape[0] != 1:
      raise ValueError(
        f"{field} of {name} must have shape [batch, {field}], got {shape} of 1 image"
      )
  if "head" not in variables["params"]:
    raise ValueError(
      f"{name} must keep its head under the name 'head', got {', '.join(variables['params'])}"
    )


def create_state(
  model: nn.Module,
  optimizer: optax.GradientTransformation,
  key: jax.Array,
  example_shape: tuple[int, ...],
  *,
  learning_rates: Any = (),
) -> TrainState:
  """Initialise parameters, statistics and optimiser.

  Args:
    model: A network of :mod:`isomax_jax.models`.
    optimizer: An optax transformation.
    key: Random key of the initial parameters.
    example_shape: Shape of an example: height, width and channels of an image.
    learning_rates: What the optimiser's update takes as such, if it does.

  Returns:
    The state at step 0.

  Example:
    >>> from isomax_jax.models import create_model
    >>> model = create_model("small_cnn", num_classes=8)
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), (28, 28, 1))
    >>> int(state.step), sorted(state.variables)
    (0, ['batch_stats', 'params'])
  """
  return TrainState.create(
    apply_fn=model.apply,
    **initial_variables(model, key, example_shape),
    tx=optimizer,
    learning_rates=learning_rates,
  ).replace(step=jnp.zeros((), jnp.int32))
