"""The input pipeline of sets that fit on the device, from which steps gather their batches.

The order of examples is a stream of permutations, one an epoch, a function of seed and epoch; a
batch may straddle two epochs, so nothing is dropped and nothing padded.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isomax_jax import _checks
from isomax_jax.data.examples import Labelled
from isomax_jax.data.pipeline import Pipeline
from isomax_jax.typing import AnyArray, Batch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Source:
  """All examples of a set, flattened: a TPU would pad rows of pixels to several times their size.

  Attributes:
    rows: Examples as stored, shape ``[n, size of one]``.
    labels: Class indices, shape ``[n]``, int32.
    example_shape: Shape of one.
  """

  rows: AnyArray
  labels: AnyArray
  example_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})


def make_source(images: AnyArray, labels: AnyArray) -> Source:
  """Make a source of examples as stored, ``[n, ...]``, and labels, ``[n]``, int32."""
  return Source(images.reshape(len(images), -1), labels, images.shape[1:])


class Draw(NamedTuple):
  """The examples of a step, by their index in the source, and their positions in the batch."""

  indices: AnyArray
  positions: AnyArray


def fetch(source: Source, draw: Draw) -> Batch[jax.Array]:
  """Gather a batch from the source, inside the compiled step."""
  rows = jnp.take(source.rows, draw.indices, axis=0)
  return Batch(
    images=rows.reshape(len(rows), *source.example_shape),
    labels=jnp.take(source.labels, draw.indices, axis=0),
    positions=jnp.asarray(draw.positions),
  )


def make_pipeline(examples: Labelled, *, batch_size: int, seed: int) -> Pipeline:
  """Make the pipeline of examples that are all kept on the device; see :func:`draws`."""
  return Pipeline(
    make_source(*examples.read(slice(None))),
    lambda step: draws(len(examples.labels), batch_size=batch_size, seed=seed, start=step),
    fetch,
  )


def draws(
  num_examples: int,
  *,
  batch_size: int,
  seed: int,
  start: int = 0,
  process_index: int | None = None,
  process_count: int | None = None,
) -> Iterator[Draw]:
  """Yield this process's part of the draws of step ``start`` and all that follow, without end.

  Args:
    num_examples: Number of examples in the source.
    batch_size: Examples a step, over all processes.
    seed: Seed of the order.
    start: First step; the stream from there equals the whole stream without its first steps.
    process_index: Which part of each batch to draw; None asks JAX.
    process_count: How many parts there are; None asks JAX.

  Yields:
    Draws of int32 arrays, shape ``[batch_size / process_count]``.

  Raises:
    ValueError: If there are no examples, or the batch size is not positive or does not divide by
      the processes.
  """
  part = part_of_process(batch_size, process_index, process_count)
  positions = np.arange(batch_size, dtype=np.int32)
  for step in itertools.count(start):
    indices = step_indices(num_examples, batch_size=batch_size, seed=seed, step=step)
    yield Draw(indices[part], positions[part])


def part_of_process(
  batch_size: int, process_index: int | None = None, process_count: int | None = None
) -> slice:
  """Return which rows of a batch a process draws; None asks JAX.

  Raises:
    ValueError: If the batch size is not positive or does not divide by the processes.
  """
  _checks.positive("batch_size", batch_size)
  index = jax.process_index() if process_index is None else process_index
  count = jax.process_count() if process_count is None else process_count
  if batch_size % count:
    raise ValueError(f"batch_size must be a multiple of the {count} processes, got {batch_size}")
  share = batch_size // count
  return slice(index * share, (index + 1) * share)


def step_indices(num_examples: int, *, batch_size: int, seed: int, step: int) -> np.ndarray:
  """Return the indices of a step's examples, shape ``[batch_size]``, int32."""
  _checks.positive("num_examples", num_examples)
  first, last = step * batch_size, (step + 1) * batch_size - 1
  parts = []
  for epoch in range(first // num_examples, last // num_examples + 1):
    start = first - epoch * num_examples
    parts.append(_permutation(num_examples, seed, epoch)[max(0, start) : start + batch_size])
  return np.concatenate(parts)


# A batch may straddle two epochs, and steps that are read ahead may belong to the next.
@functools.lru_cache(maxsize=4)
def _permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
  return np.random.default_rng([seed, epoch]).permutation(num_examples).astype(np.int32)
