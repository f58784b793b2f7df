"""What a pipeline is: where the batches of steps come from."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from isomax_jax.typing import Batch


class Pipeline(NamedTuple):
  """A stream of batches, of which the host draws and the compiled step fetches.

  Attributes:
    source: Arrays that batches are fetched from; an argument of the step.
    draws: Function of a step to the draws of that step and of all that follow, without end.
    fetch: Function of the source and a draw to the batch, inside the step.
  """

  source: Any
  draws: Callable[[int], Iterator[Any]]
  fetch: Callable[[Any, Any], Batch]


def with_outliers(known: Pipeline, outliers: Pipeline) -> Pipeline:
  """Return the pipeline of known batches that carry the examples of others as outliers.

  Args:
    known: Labelled batches.
    outliers: As many examples a batch, in an order of their own.
  """

  def fetch(source: tuple[Any, Any], draw: tuple[Any, Any]) -> Batch:
    beside = outliers.fetch(source[1], draw[1])
    return known.fetch(source[0], draw[0])._replace(outliers=beside.images)

  return Pipeline(
    (known.source, outliers.source),
    lambda step: zip(known.draws(step), outliers.draws(step), strict=True),
    fetch,
  )
