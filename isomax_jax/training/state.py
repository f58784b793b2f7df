"""The train state, and the initialisation of networks."""

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

  A step folds ``step`` into its random key, so no random state is kept. The learning rates are
  those of :mod:`isomax_jax.training.optim`, or empty for an optimiser that takes none. They follow
  from the config, and checkpoints do not hold them.
  """

  batch_stats: Any
  learning_rates: Any = ()

  @property
  def variables(self) -> dict[str, Any]:
    """The collections that ``apply_fn`` takes."""
    return {"params": self.params, "batch_stats": self.batch_stats}

  def apply_gradients(self, *, grads: Any, **changes: Any) -> Self:
    """Return the state after a step of the optimiser, with other fields changed as given."""
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
  """Return a network's initial ``params`` and ``batch_stats``; arguments as :func:`create_state`.

  Raises:
    ValueError: If it does not return ``Outputs`` of a batch, or its head has another name.
  """

  @jax.jit
  def initialise(key, examples):
    outputs, variables = model.init_with_output(key, examples, train=False)
    _check_network(model, outputs, variables)
    return variables

  return {"batch_stats": {}, **initialise(key, jnp.zeros((1, *example_shape)))}


def _check_network(model: nn.Module, outputs: Any, variables: Mapping[str, Any]) -> None:
  """Raise ValueError unless a network has the outputs and the head that detectors need."""
  name = type(model).__name__
  if not isinstance(outputs, Outputs):
    raise ValueError(f"{name} must return isomax_jax.typing.Outputs, got {type(outputs).__name__}")
  for field in ("features", "logits"):
    shape = jnp.shape(getattr(outputs, field))
    if len(shape) != 2 or shape[0] != 1:
      raise ValueError(
        f"{field} of {name} must have shape [batch, {field}], got {shape} of 1 image"
      )
  classes = getattr(getattr(model, "head", None), "num_classes", None)
  if classes is not None and jnp.shape(outputs.logits)[-1] != classes:
    raise ValueError(
      f"{type(model.head).__name__} of {name} must give {classes} logits, one a class, got "
      f"{jnp.shape(outputs.logits)[-1]}"
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
    learning_rates: Passed to the optimiser's ``update``, if it takes them.

  Returns:
    The state at step 0.

  Raises:
    ValueError: If the network does not return ``Outputs`` of a batch, or its head has another name.

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
