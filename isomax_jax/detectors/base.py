"""The types of detectors and of the classifiers that they serve."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Float

from isomax_jax.typing import AnyArray, Outputs

Params = Any


class Classifier(NamedTuple):
  """A trained network as detectors see it.

  Where its functions are ``jax.tree_util.Partial`` of a function and its arrays, a classifier is a
  tree that can be an argument of a compiled program; otherwise its arrays become constants there.

  Attributes:
    outputs: Images in pixels of [0, 1], shape ``[batch, height, width, channels]``, to
      ``Outputs``; normalisation is part of it, so gradients are by the pixels.
    head: Head parameters and features ``[..., features]`` to logits ``[..., classes]``.
    head_params: The head's parameters.
  """

  outputs: Callable[[jax.Array], Outputs[jax.Array]]
  head: Callable[[Params, jax.Array], jax.Array]
  head_params: Params


Batches = Iterable[tuple[AnyArray, AnyArray, Outputs[AnyArray]]]
"""Images as pixels of [0, 1], labels and outputs of training data; may be iterated again."""


class Unsupported(ValueError):  # noqa: N818 (what it says of a classifier)
  """The classifier lacks what the detector's method needs."""


class Detector(NamedTuple):
  """A pair of pure functions; higher scores are more in-distribution.

  Attributes:
    fit: ``fit(classifier, batches) -> params``, a tree of arrays: as many passes over training
      data as the detector's documentation says; a detector that needs none returns ``()``.
      May raise :class:`Unsupported`.
    score: ``score(params, classifier, images, outputs) -> scores``, shape ``[batch]``. The
      outputs are handed in, so that all detectors share one forward pass.
  """

  fit: Callable[[Classifier, Batches], Params]
  # Arrays of JAX to a score that is written for such, though most take NumPy's too.
  score: Callable[[Params, Classifier, Any, Outputs[Any]], jax.Array]


def from_logits(score: Callable[[jax.Array], jax.Array]) -> Detector:
  """Make a detector of a score of the logits, such as those of :mod:`isomax_jax.scores`.

  Args:
    score: Function of logits, shape ``[..., classes]``, to scores, shape ``[...]``.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.scores import energy
    >>> outputs = Outputs(logits=jnp.array([[0.0, 2.0]]), features=jnp.zeros((1, 4)))
    >>> print(from_logits(energy).score((), None, None, outputs).round(4))
    [2.1269]
  """
  return Detector(
    fit=lambda classifier, batches: (),
    score=lambda params, classifier, images, outputs: score(outputs.logits),
  )


def linear_head(
  classifier: Classifier, *, detector: str
) -> tuple[Float[AnyArray, "features classes"], Float[AnyArray, " classes"]]:
  """Return kernel and bias of a classifier's affine head.

  Args:
    classifier: The classifier.
    detector: Name of the detector that asks, for the message.

  Returns:
    Kernel, shape ``[features, classes]``, and bias, shape ``[classes]``.

  Raises:
    Unsupported: If the head is another one.

  Example:
    >>> classifier = Classifier(outputs=None, head=None, head_params={"prototypes": 0})
    >>> linear_head(classifier, detector="vim")
    Traceback (most recent call last):
    isomax_jax.detectors.base.Unsupported: vim needs a linear head, with kernel and bias; ...
  """
  params = classifier.head_params
  names = parameter_names(params)
  if set(names) != {"kernel", "bias"}:
    raise Unsupported(
      f"{detector} needs a linear head, with kernel and bias; this one has "
      f"{', '.join(names) or type(params).__name__}"
    )
  return params["kernel"], params["bias"]


def parameter_names(params: Params) -> list[str]:
  """Return the names of a head's parameters; none where they are not a mapping."""
  return list(params) if isinstance(params, Mapping) else []
