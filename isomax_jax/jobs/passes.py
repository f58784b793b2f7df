"""Training data for detectors: one forward pass, whatever the number of passes of their fits."""

import math
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from isomax_jax import data
from isomax_jax.evaluation.predict import predict
from isomax_jax.jobs.trained import Trained
from isomax_jax.typing import Outputs

_BATCH = 1024


class TrainingBatches:
  """Images, labels and outputs of a network's training data; may be iterated again and again.

  The first iteration sends the images through the network and keeps the outputs in a file without
  a name, in the system's folder for temporary ones; memory holds a batch.
  """

  def __init__(self, trained: Trained, examples: data.Examples | data.Stored):
    self._trained = trained
    self._examples = examples
    self._outputs: Outputs | None = None

  def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, Outputs]]:
    if self._outputs is None:
      self._outputs = self._forward()
    for positions in self._positions():
      images, labels = _read(self._examples, positions)
      outputs = jax.tree.map(lambda kept, at=positions: kept[at], self._outputs)
      yield images.astype(np.float32) / 255, labels, outputs

  def _forward(self) -> Outputs:
    """Send all images through the network, once."""
    kept = None
    for positions in self._positions():
      images, _ = _read(self._examples, positions)
      outputs = predict(self._trained.forward, self._trained.variables, images)
      if kept is None:
        kept = jax.tree.map(self._on_disk, outputs)
      jax.tree.map(lambda file, batch, at=positions: file.__setitem__(at, batch), kept, outputs)
    return kept

  def _on_disk(self, batch: np.ndarray) -> np.ndarray:
    """Return an array on disk for all examples, like that of a batch."""
    shape = len(self._examples.labels), *batch.shape[1:]
    with tempfile.TemporaryFile() as file:
      file.truncate(math.prod(shape) * batch.dtype.itemsize)
      return np.memmap(file, batch.dtype, "r+", shape=shape)

  def _positions(self) -> Iterator[slice]:
    for start in range(0, len(self._examples.labels), _BATCH):
      yield slice(start, min(start + _BATCH, len(self._examples.labels)))


def _read(examples: data.Examples | data.Stored, positions: slice) -> Any:
  if isinstance(examples, data.Stored):
    return examples.read(np.arange(positions.start, positions.stop))
  return examples.images[positions], examples.labels[positions]
