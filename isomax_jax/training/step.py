"""The training step: one pure function that does not know how it is spread over devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from isomax_jax import scores
from isomax_jax.losses import scaled_cross_entropy
from isomax_jax.training.state import TrainState
from isomax_jax.typing import Batch, Outputs

Prepare = Callable[[jax.Array, Batch], jax.Array]
Loss = Callable[[Outputs, Batch], jax.Array]


def classification_loss(entropic_scale: float) -> Loss:
  """Make the loss of a classifier: the scaled cross-entropy of each example.

  Args:
    entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.

  Returns:
    A function of outputs and batch to losses, shape ``[batch]``.

  Example:
    >>> outputs = Outputs(logits=jnp.array([[-1.0, -1.0]]), features=jnp.zeros((1, 4)))
    >>> batch = Batch(images=None, labels=jnp.array([1]), positions=jnp.array([0]))
    >>> print(classification_loss(10.0)(outputs, batch).round(4))
    [0.6931]
  """

  def loss(outputs: Outputs, batch: Batch) -> jax.Array:
    return scaled_cross_entropy(outputs.logits, batch.labels, entropic_scale=entropic_scale)

  return loss


def train_step(
  state: TrainState,
  batch: Batch,
  key: jax.Array,
  *,
  prepare: Prepare,
  loss: Loss,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Take one step of gradient descent on a batch, or on this device's part of it.

  Args:
    state: The train state.
    batch: Images as stored, labels, and each example's position in the global batch.
    key: The run's random key; the step is folded in here, positions by ``prepare``.
    prepare: Function of key and batch to the network's input: augment, then normalise.
    loss: Function of outputs and batch to losses, shape ``[batch]``.
    axis_name: Mapped axis over which gradient and metrics are averaged. The model's BatchNorm
      must have the same.

  Returns:
    The new state, and the means over the global batch of ``loss``, ``accuracy`` and ``entropy``
    (nats, of the probabilities without an entropic scale).

  Example:
    >>> import optax
    >>> from functools import partial
    >>> from isomax_jax.models import create_model
    >>> from isomax_jax.training import create_state
    >>> model = create_model("small_cnn", num_classes=8)
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), (28, 28, 1))
    >>> step = jax.jit(partial(
    ...     train_step,
    ...     prepare=lambda key, batch: batch.images / 255,
    ...     loss=classification_loss(10.0)))
    >>> images = jnp.ones((4, 28, 28, 1), jnp.uint8)
    >>> batch = Batch(images, labels=jnp.arange(4), positions=jnp.arange(4))
    >>> state, metrics = step(state, batch, jax.random.key(1))
    >>> int(state.step), round(float(metrics["entropy"]), 3)  # log(8): prototypes start at zero
    (1, 2.079)
  """
  images = prepare(jax.random.fold_in(key, state.step), batch)

  def objective(params):
    variables = {"params": params, "batch_stats": state.batch_stats}
    outputs, updates = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
    return jnp.mean(loss(outputs, batch)), (outputs, updates.get("batch_stats", {}))

  (mean_loss, (outputs, batch_stats)), gradient = jax.value_and_grad(objective, has_aux=True)(
    state.params
  )
  metrics = {
    "loss": mean_loss,
    "accuracy": jnp.mean(jnp.argmax(outputs.logits, axis=-1) == batch.labels),
    "entropy": -jnp.mean(scores.entropic_score(outputs.logits)),
  }
  if axis_name is not None:
    gradient, metrics = lax.pmean((gradient, metrics), axis_name)
  return state.apply_gradients(grads=gradient, batch_stats=batch_stats), metrics
