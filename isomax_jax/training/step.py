"""The training step, a pure function of state, batch and key."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from isomax_jax import scores
from isomax_jax.training.objectives.base import Losses, Network, Objective
from isomax_jax.training.state import TrainState
from isomax_jax.typing import Batch, Outputs


def train_step(
  state: TrainState,
  batch: Batch,
  key: jax.Array,
  *,
  objective: Objective,
  accumulate: int = 1,
  axis_name: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Take one optimisation step on a batch, or on this device's share of it.

  Args:
    state: The train state.
    batch: Images as stored, labels, and each example's position in the global batch.
    key: The run's random key; the step is folded in here, positions by the objective.
    objective: What is minimised; see :mod:`isomax_jax.training.objectives`.
    accumulate: Parts of a batch that does not fit into memory, whose gradients are computed one
      after the other and averaged. Only BatchNorm takes its statistics from each part alone.
    axis_name: Mapped axis over which gradient and metrics are averaged; the BatchNorm of the
      network must have the same.

  Returns:
    The new state, and the means over the global batch of ``loss``, ``accuracy`` and ``entropy``
    (nats, of the probabilities without an entropic scale).

  Example:
    >>> import optax
    >>> from functools import partial
    >>> from isomax_jax.models import create_model
    >>> from isomax_jax.training import classification, create_state
    >>> model = create_model("small_cnn", num_classes=8)
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), (28, 28, 1))
    >>> objective = classification(lambda key, batch: batch.images / 255, entropic_scale=10.0)
    >>> step = jax.jit(partial(train_step, objective=objective))
    >>> images = jnp.ones((4, 28, 28, 1), jnp.uint8)
    >>> batch = Batch(images, labels=jnp.arange(4), positions=jnp.arange(4))
    >>> state, metrics = step(state, batch, jax.random.key(1))
    >>> int(state.step), round(float(metrics["entropy"]), 3)  # log(8): prototypes start at zero
    (1, 2.079)
  """
  key = jax.random.fold_in(key, state.step)

  def take_part(batch_stats, part):
    """Return a part's running statistics, and its gradient and metrics."""

    def mean_loss(params):
      losses = objective(_bind(state, params, batch_stats), key, part)
      _check_losses(losses)
      return jnp.mean(losses.values), losses

    (loss, losses), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    metrics = {
      "loss": loss,
      "accuracy": jnp.mean(jnp.argmax(losses.logits, axis=-1) == losses.labels),
      "entropy": -jnp.mean(scores.entropic_score(losses.logits)),
    }
    return losses.batch_stats, (gradient, metrics)

  if accumulate == 1:
    batch_stats, (gradient, metrics) = take_part(state.batch_stats, batch)
  else:
    batch_stats, (gradient, metrics) = _accumulate(take_part, state, batch, accumulate)
  if axis_name is not None:
    gradient, metrics = lax.pmean((gradient, metrics), axis_name)
  return state.apply_gradients(grads=gradient, batch_stats=batch_stats), metrics


def _check_losses(losses: Any) -> None:
  """Raise unless an objective returned what means can be taken of."""
  if not isinstance(losses, Losses):
    raise TypeError(f"an objective must return Losses, got {type(losses).__name__}")
  values, logits, labels = (jnp.shape(each) for each in losses[:3])
  if len(values) != 1 or len(logits) != 2 or labels != logits[:1]:
    raise ValueError(
      "an objective must return values [examples], logits [labelled, classes] and labels "
      f"[labelled], got shapes {values}, {logits} and {labels}"
    )


def _accumulate(take_part: Callable, state: TrainState, batch: Batch, parts: int) -> Any:
  """Take the parts of a batch in turn; return the last statistics and the means of the rest."""

  def deal(rows):
    # A part has rows of every device's share, and the same ones however the batch is spread.
    return jnp.moveaxis(rows.reshape(-1, parts, *rows.shape[1:]), 1, 0)

  def add(carry, part):
    batch_stats, gradients = carry
    batch_stats, (gradient, metrics) = take_part(batch_stats, part)
    return (batch_stats, jax.tree.map(jnp.add, gradients, gradient)), metrics

  zeros = jax.tree.map(jnp.zeros_like, state.params)
  carry = state.batch_stats, zeros
  (batch_stats, gradients), metrics = lax.scan(add, carry, jax.tree.map(deal, batch))
  gradient = jax.tree.map(lambda total: total / parts, gradients)
  return batch_stats, (gradient, jax.tree.map(jnp.mean, metrics))


def _bind(state: TrainState, params: Any, batch_stats: Any) -> Network:
  """Bind the state's network to parameters and statistics."""
  variables = {"params": params, "batch_stats": batch_stats}

  def train(inputs: jax.Array) -> tuple[Outputs, Any]:
    outputs, updates = state.apply_fn(variables, inputs, train=True, mutable=["batch_stats"])
    return outputs, updates.get("batch_stats", {})

  fixed = lax.stop_gradient(variables)
  return Network(train, infer=lambda inputs: state.apply_fn(fixed, inputs, train=False))
