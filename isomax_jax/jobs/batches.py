"""Where the batches of steps come from: the known set, and maybe one of outliers beside it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from isomax_jax import data
from isomax_jax.data import resident, stream
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


def is_streamed(config: TrainConfig, num_bytes: int) -> bool:
  """Tell whether images are read from disk as they are needed, or all are kept on the device."""
  if config.run.pipeline == "auto":
    return num_bytes >= data.LARGEST_RESIDENT
  return config.run.pipeline == "stream"


def make_fetch(*, streamed: bool, outliers_streamed: bool | None = None) -> Fetch:
  """Make the function of source and draw to a batch, inside the compiled step.

  Args:
    streamed: Whether images are read from disk.
    outliers_streamed: The same of outliers; None if there are none.
  """
  fetch = stream.fetch if streamed else resident.fetch
  if outliers_streamed is None:
    return fetch
  fetch_outliers = stream.fetch if outliers_streamed else resident.fetch

  def fetch_both(source: tuple[Any, Any], draw: tuple[Any, Any]) -> Batch:
    outliers = fetch_outliers(source[1], draw[1])
    return fetch(source[0], draw[0])._replace(outliers=outliers.images)

  return fetch_both


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
