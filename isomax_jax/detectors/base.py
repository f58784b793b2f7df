"""What a detector is, and what it may ask of the classifier it serves."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from isomax_jax.typing import Outputs

Params = Any


class Classifier(NamedTuple):
  """A trained network as detectors see it.

  Attributes:
    outputs: Images in pixels of [0, 1], shape ``[batch, height, width, channels]``, to
      ``Outputs``; normalisation is part of it, so gradients are by the pixels.
    head: Head parameters and features ``[..., features]`` to logits ``[..., classes]``.
    head_params: The head's parameters.
  """

  outputs: Callable[[jax.Array], Outputs]
  head: Callable[[Params, jax.Array], jax.Array]
  head_params: Params


class Detector(NamedTuple):
  """A pair of pure functions; higher scores are more in-distribution.

  Attributes:
    fit: ``fit(classifier, batches) -> params``: one pass over batches of
      ``(images, labels, outputs)`` of training data; a detector without any returns ``()``.
    score: ``score(params, classifier, images, outputs) -> scores``, shape ``[batch]``. The
      outputs are handed in, so that all detectors share one forward pass.
  """

  fit: Callable[[Classifier, Iterable[tuple[jax.Array, jax.Array, Outputs]]], Params]
  score: Callable[[Params, Classifier, jax.Array, Outputs], jax.Array]
