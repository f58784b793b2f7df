"""The input pipeline of sets that do not fit on the device: batches are read ahead of the steps.

Grain reads the records of a prepared set in threads or processes of its own. Batches are those of
:mod:`isomax_jax.data.resident`, example by example, for the same seed. A step's batch is on the
host when the step is dispatched; since dispatching does not wait for earlier steps, its transfer
to the device overlaps with them.
"""

import functools
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from isomax_jax import _checks
from isomax_jax.data._packages import package_folder
from isomax_jax.data.examples import Labelled, Stored
from isomax_jax.data.pipeline import Pipeline
from isomax_jax.data.resident import part_of_process, step_indices
from isomax_jax.typing import Batch

# Reading is bound by the interpreter's lock: more threads than this get in each other's way.
_THREADS = 4
_BATCHES_AHEAD = 16


def fetch(source: Any, batch: Batch[jax.Array]) -> Batch[jax.Array]:
  """Return the batch as it is: a draw is the batch itself."""
  del source
  return batch


def make_pipeline(examples: Labelled, *, batch_size: int, seed: int, workers: int = 0) -> Pipeline:
  """Make the pipeline of examples that are read as they are needed; see :func:`draws`."""
  options = {"batch_size": batch_size, "seed": seed, "workers": workers}
  return Pipeline((), lambda step: draws(examples, **options, start=step), fetch)


def draws(
  examples: Labelled,
  *,
  batch_size: int,
  seed: int,
  start: int = 0,
  workers: int = 0,
  process_index: int | None = None,
  process_count: int | None = None,
) -> Iterator[Batch[np.ndarray]]:
  """Yield this process's part of the batches of step ``start`` and all that follow, without end.

  Arguments and order are those of :func:`isomax_jax.data.resident.draws`, except that the examples
  themselves are given, and ``workers`` processes read them; 0 reads in threads of this one.

  Yields:
    Batches of ``batch_size / process_count`` examples as stored, labels and positions int32.

  Raises:
    ModuleNotFoundError: If Grain is missing.
    ValueError: As ``resident.draws`` does, or if an example cannot be read.
    ChildProcessError: If a process that reads has died.
  """
  part = part_of_process(batch_size, process_index, process_count)
  _checks.positive("number of examples", len(examples.labels))
  package_folder("grain", extra="train", use="stream examples")
  import grain.python as grain
  from absl import flags

  steps = grain.MapDataset.range(start, sys.maxsize)
  # A partial of a module's function, because it is sent to worker processes.
  batches = steps.map(functools.partial(_read_step, examples, batch_size, seed, part))
  options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_BATCHES_AHEAD)
  ahead = batches.to_iter_dataset(options)
  if workers:
    # Grain's workers look at command-line flags of Abseil, which this program does not parse.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  try:
    yield from ahead
  except RuntimeError as error:
    if "terminated unexpectedly" not in str(error):
      raise
    what = f"examples of {examples.spec.name}" if isinstance(examples, Stored) else "examples"
    raise ChildProcessError(
      f"a process that reads {what} has died, maybe for lack of memory: {error}"
    ) from error


def _read_step(
  examples: Labelled, batch_size: int, seed: int, part: slice, step: int
) -> Batch[np.ndarray]:
  indices = step_indices(len(examples.labels), batch_size=batch_size, seed=seed, step=step)
  images, labels = examples.read(indices[part])
  return Batch(images, labels, np.arange(batch_size, dtype=np.int32)[part])
