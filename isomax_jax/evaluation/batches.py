"""Batches for the fits of detectors, sent through the network once."""

import math
import tempfile
from collections.abc import Iterator
from typing import Protocol

import jax
import numpy as np

from isomax_jax.detectors import Classifier
from isomax_jax.evaluation.predict import forward, predict, to_pixels
from isomax_jax.typing import Outputs

_BATCH = 1024


class LabelledExamples(Protocol):
  """Examples in memory or on disk."""

  @property
  def labels(self) -> np.ndarray:
    """Class indices, shape ``[examples]``."""
    ...

  def read(self, positions: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return some examples as stored, and their labels."""
    ...


class FitBatches:
  """Pixels, labels and outputs of examples, which may be iterated again and again.

  The first iteration computes the outputs and keeps them in a nameless temporary file; memory
  holds one batch. The classifier's functions are ``jax.tree_util.Partial``.
  """

  def __init__(self, classifier: Classifier, examples: LabelledExamples):
    self._classifier = classifier
    self._examples = examples
    self._count = len(examples.labels)
    self._positions = [slice(start, start + _BATCH) for start in range(0, self._count, _BATCH)]
    self._outputs: Outputs[np.ndarray] | None = None

  def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, Outputs[np.ndarray]]]:
    if self._outputs is None:
      self._outputs = self._forward()
    for positions in self._positions:
      images, labels = self._examples.read(positions)
      outputs = jax.tree.map(lambda kept, at=positions: kept[at], self._outputs)
      # Copies, so that no fit can change what the next one is given.
      yield jax.tree.map(np.array, (to_pixels(images), labels, outputs))

  def _forward(self) -> Outputs[np.ndarray] | None:
    """Return the outputs of all examples, None of no example."""
    kept = None
    for positions in self._positions:
      images, _ = self._examples.read(positions)
      outputs = predict(forward, self._classifier, images)
      if kept is None:
        kept = jax.tree.map(self._on_disk, outputs)
      jax.tree.map(lambda file, batch, at=positions: file.__setitem__(at, batch), kept, outputs)
    return kept

  def _on_disk(self, batch: np.ndarray) -> np.ndarray:
    """Return an array on disk for all examples, of the kind of a batch."""
    shape = self._count, *batch.shape[1:]
    with tempfile.TemporaryFile() as file:
      file.truncate(math.prod(shape) * batch.dtype.itemsize)
      return np.memmap(file, batch.dtype, "r+", shape=shape)
