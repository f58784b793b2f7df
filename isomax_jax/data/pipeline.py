"""The interface of input pipelines, and the pipeline of batches with outliers."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from isomax_jax.typing import Batch


class Pipeline(NamedTuple):
  """A stream of batches, drawn on the host and fetched inside the compiled step.

  Attributes:
    source: Arrays that batches are fetched from; an argument of the step.
    draws: Function of a step to an endless iterator of the draws from that step on.
    fetch: Function of the source and a draw to the batch, inside the step.
  """

  source: Any
  draws: Callable[[int], Iterator[Any]]
  fetch: Callable[[Any, Any], Batch[jax.Array]]


def with_outliers(known: Pipeline, outliers: Pipeline) -> Pipeline:
  """Return the pipeline of known batches that carry as many examples of others as outliers."""

  def fetch(source: tuple[Any, Any], draw: tuple[Any, Any]) -> Batch[jax.Array]:
    beside = outliers.fetch(source[1], draw[1])
    return known.fetch(source[0], draw[0])._replace(outliers=beside.images)

  return Pipeline(
    (known.source, outliers.source),
    lambda step: zip(known.draws(step), outliers.draws(step), strict=True),
    fetch,
  )
