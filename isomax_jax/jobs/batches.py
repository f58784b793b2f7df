"""Where the batches of steps come from: the known set, and maybe one of outliers beside it."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax import data
from isomax_jax.data import resident, stream
from isomax_jax.jobs.setup import Setup
from isomax_jax.jobs.unknown import find_unknown
from isomax_jax.training import TrainConfig
from isomax_jax.training.parallel import Fetch
from isomax_jax.typing import Batch

# Order of outliers: NumPy reads a seed as words of 32 bits, of which a run's own seed has one and
# then that of the epoch, which never gets so high.
_APART = (2**32 - 1) * 2**32


class Batches(NamedTuple):
  """A stream of batches.

  Attributes:
    source: Arrays that batches are fetched from.
    draws: Function of a step to the draws of that step and of all that follow.
  """

  source: Any
  draws: Callable[[int], Iterator[Any]]


class Origin(NamedTuple):
  """A set that batches are made of.

  Attributes:
    reference: The set and its classes.
    spec: What is known of the set.
    split: The split that is read.
    streamed: Whether images are read from disk as they are needed, or all kept on the device.
  """

  reference: data.Reference
  spec: data.DataSpec
  split: str
  streamed: bool

  def open(self, data_dir: str | os.PathLike[str] | None) -> data.Examples | data.Stored:
    """Open the examples, or load them all if they are not streamed."""
    read = data.open_split if self.streamed else data.load
    classes = self.reference.classes
    return read(self.reference.name, self.split, classes=classes, data_dir=data_dir)

  def outline(self, batch_size: int, steps: int) -> tuple[Any, Any]:
    """Return a source and the draws of some steps as to shapes and dtypes, of the whole split."""
    shape, count = self.spec.image_shape, self.spec.splits[self.split]
    numbers = np.zeros((steps, batch_size), np.int32)
    if self.streamed:
      return (), Batch(np.zeros((steps, batch_size, *shape), np.uint8), numbers, numbers)
    source = jax.eval_shape(
      resident.make_source,
      jax.ShapeDtypeStruct((count, *shape), np.uint8),
      jax.ShapeDtypeStruct((count,), np.int32),
    )
    return source, resident.Draw(numbers, numbers)


def find_origins(
  config: TrainConfig, setup: Setup, data_dir: str | os.PathLike[str] | None
) -> tuple[Origin, Origin | None]:
  """Look up where a config's images come from: the known ones, and outliers if there are any.

  Raises:
    ValueError: If the set of the outliers is unknown, holds known classes or does not fit.
  """
  known = Origin(setup.reference, setup.spec, "train", _is_streamed(config, setup.spec, "train"))
  if config.objective.outliers is None:
    return known, None
  reference, spec, _ = find_unknown(
    setup, config.objective.outliers, role="objective.outliers", data_dir=data_dir
  )
  # A set that is there to be unknown has one split.
  split = "train" if "train" in spec.splits else next(iter(spec.splits))
  return known, Origin(reference, spec, split, _is_streamed(config, spec, split))


def _is_streamed(config: TrainConfig, spec: data.DataSpec, split: str) -> bool:
  if config.run.pipeline == "auto":
    return spec.num_bytes(split) >= data.LARGEST_RESIDENT
  return config.run.pipeline == "stream"


def make_fetch(known: Origin, outliers: Origin | None = None) -> Fetch:
  """Make the function of source and draw to a batch, inside the compiled step."""
  fetch = _fetch_of(known)
  if outliers is None:
    return fetch
  fetch_outliers = _fetch_of(outliers)

  def fetch_both(source: tuple[Any, Any], draw: tuple[Any, Any]) -> Batch:
    beside = fetch_outliers(source[1], draw[1])
    return fetch(source[0], draw[0])._replace(outliers=beside.images)

  return fetch_both


def _fetch_of(origin: Origin) -> Fetch:
  return stream.fetch if origin.streamed else resident.fetch


def open_batches(
  training: data.Examples | data.Stored,
  config: TrainConfig,
  outliers: data.Examples | data.Stored | None = None,
) -> Batches:
  """Open the stream of batches of examples; with as many outliers, in an order of their own."""
  known = _open(training, config, seed=config.seed)
  if outliers is None:
    return known
  beside = _open(outliers, config, seed=config.seed + _APART)
  return Batches(
    (known.source, beside.source),
    lambda step: zip(known.draws(step), beside.draws(step), strict=True),
  )


def _open(examples: data.Examples | data.Stored, config: TrainConfig, *, seed: int) -> Batches:
  options = {"batch_size": config.optim.batch_size, "seed": seed}
  if isinstance(examples, data.Stored):
    workers = config.run.workers
    return Batches((), lambda step: stream.draws(examples, **options, start=step, workers=workers))
  count = len(examples.labels)
  return Batches(
    resident.make_source(*examples), lambda step: resident.draws(count, **options, start=step)
  )
