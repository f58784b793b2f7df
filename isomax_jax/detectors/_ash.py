"""ASH: energy of the head's logits of pruned and rescaled features."""

import jax.numpy as jnp
from jax import lax

from isomax_jax import _checks, scores
from isomax_jax.detectors.base import Detector


def ash(*, variant: str = "s", percentile: float = 90.0) -> Detector:
  r"""Rank by the energy after pruning all but the largest features (ASH).

  .. math:: \log \textstyle\sum_j \exp h_j(g), \qquad
     g_i = \begin{cases}
       f_i \, e^{s / s'} & \text{variant s} \\ s / K & \text{variant b} \\ f_i & \text{variant p}
     \end{cases} \quad \text{among the } K \text{ largest}, \quad g_i = 0 \text{ else}

  with :math:`h` the head, which may be any, :math:`s` the sum of all features and :math:`s'`
  that of the kept. Needs features and the head, whose pass over the shaped features is all that
  a score costs. Where the kept features sum to zero, as those of a dead row do, variant s leaves
  them as they are; the authors divide by zero.

  Args:
    variant: ``"s"`` rescales what is kept, ``"b"`` makes it equal, ``"p"`` leaves it.
    percentile: How many of a hundred features are removed. Variant s at 90 is what the authors
      configure for CIFAR-10 and ImageNet; their functions' own default is 65.

  Returns:
    A detector without a fit.

  Raises:
    ValueError: If the variant is unknown or the percentile is not from 0 to 100. The score, if
      no feature would be kept.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.detectors import Classifier
    >>> from isomax_jax.typing import Outputs
    >>> classifier = Classifier(None, head=lambda params, features: features, head_params=())
    >>> features = jnp.array([[0.0, 1.0, 3.0, 0.0]])
    >>> outputs = Outputs(logits=features, features=features)
    >>> print(ash(variant="b", percentile=50).score((), classifier, None, outputs).round(2))
    [2.82]

  References:
    Djurisic et al., *Extremely Simple Activation Shaping for Out-of-Distribution Detection*,
    2023, Algorithms 1-3.
  """
  _checks.one_of("variant", variant, ("b", "p", "s"))
  _checks.percentile("percentile", percentile)

  def score(params, classifier, images, outputs):
    features = _checks.floating("features", outputs.features)
    size = features.shape[-1]
    kept = size - round(size * percentile / 100)
    if kept < 1:
      raise ValueError(f"percentile must leave a feature or more of {size}, got {percentile!r}")
    largest, places = lax.top_k(features, kept)
    total = jnp.sum(features, axis=-1, keepdims=True)
    if variant == "s":
      remaining = jnp.sum(largest, axis=-1, keepdims=True)
      # The inner `where` keeps derivatives of the division finite where it is not taken.
      ratio = jnp.where(remaining == 0, 0, total / jnp.where(remaining == 0, 1, remaining))
      largest = largest * jnp.exp(ratio)
    elif variant == "b":
      largest = jnp.broadcast_to(total / kept, largest.shape)
    shaped = jnp.put_along_axis(jnp.zeros_like(features), places, largest, axis=-1, inplace=False)
    return scores.energy(classifier.head(classifier.head_params, shaped))

  return Detector(fit=lambda classifier, batches: (), score=score)
