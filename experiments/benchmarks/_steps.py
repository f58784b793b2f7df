"""Training steps as the training loop takes them: compiled once, many a dispatch or one."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax import data
from isomax_jax.heads import HEADS
from isomax_jax.models import create_model
from isomax_jax.training import OptimConfig, classification, create_state, train_step
from isomax_jax.training.devices import make_runner
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.typing import Batch

# Normalisation and image shape of what is trained on.
SPEC = "cifar10"
_normalize = data.normalizer(data.get_spec(SPEC))


class Input(NamedTuple):
  """Where batches come from.

  Attributes:
    fetch: Function of the source and a draw to a batch, inside the step.
    source: Arrays that stay on the device.
    draws: What the host hands to each step.
    prepare: Function of a key and a batch to the network's images, inside the step.
  """

  fetch: Callable[[Any, Any], Batch]
  source: Any
  draws: Iterator[Any]
  prepare: Callable[[jax.Array, Batch], jax.Array]


class Steps(NamedTuple):
  """Steps that are compiled.

  Attributes:
    run: Take them, and return their metrics.
    compile_seconds: Seconds that compiling took.
  """

  run: Callable[[], Any]
  compile_seconds: float


def augment(key: jax.Array, batch: Batch) -> jax.Array:
  """Crop, flip and normalise, as training does."""
  keys = data.example_keys(key, batch.positions)
  images = data.random_flip(keys, data.random_crop(keys, batch.images, padding=4))
  return _normalize(data.to_pixels(images))


def fixed(batch: Batch, draw: Any) -> Input:
  """Return the input of steps that all take one batch, normalised beforehand: no input at all."""
  batch = batch._replace(images=_normalize(data.to_pixels(batch.images)))
  same = jax.tree.map(jnp.asarray, batch)
  return Input(
    fetch=lambda batch, draw: batch,
    source=same,
    draws=itertools.repeat(draw),
    prepare=lambda key, batch: batch.images,
  )


def make_steps(
  model_name: str,
  inputs: Input,
  *,
  head: str = "isomax",
  dtype: Any = jnp.float32,
  batch_size: int,
  per_dispatch: int,
  dispatches: int,
) -> Steps:
  """Compile training steps: `per_dispatch` a program, which a run calls `dispatches` times."""
  step = functools.partial(
    train_step,
    objective=classification(inputs.prepare, entropic_scale=HEADS[head].entropic_scale),
  )
  runner = make_runner(
    step, inputs.fetch, strategy="sharded", devices=jax.devices()[:1], batch_size=batch_size
  )
  optim = OptimConfig(batch_size=batch_size)
  state = runner.replicate(
    create_state(
      create_model(model_name, 10, head=head, dtype=dtype),
      sgd(optim),
      jax.random.key(0),
      data.get_spec(SPEC).example_shape,
      learning_rates=learning_rates(optim, total_steps=10**6),
    )
  )
  key, source = runner.replicate(jax.random.key(1)), runner.replicate(inputs.source)

  def draw() -> Any:
    drawn = itertools.islice(inputs.draws, per_dispatch)
    return runner.place(jax.tree.map(lambda *leaves: np.stack(leaves), *drawn))

  start = time.perf_counter()
  compiled = runner.lower(state, source, draw(), key).compile()
  seconds = time.perf_counter() - start

  def run() -> Any:
    nonlocal state
    for _ in range(dispatches):
      state, metrics = compiled(state, source, draw(), key)
    return metrics

  return Steps(run, seconds)
