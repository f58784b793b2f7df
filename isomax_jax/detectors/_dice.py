"""DICE: energy after the head is pruned to its most contributing weights."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from isomax_jax import _checks, scores
from isomax_jax.detectors._training import training_batches
from isomax_jax.detectors.base import Detector, linear_head


def dice(*, percentile: float = 90.0) -> Detector:
  r"""Rank by the energy after pruning the head to its most contributing weights (DICE).

  .. math:: \log \textstyle\sum_j \exp(f (W \odot M) + b)_j, \qquad
     M = [V > v_p], \quad V = \operatorname{diag}(\operatorname{mean} f) \, W

  with :math:`v_p` the p-th percentile of all contributions :math:`V`. Needs features, a linear
  head, and one pass over training data for their mean, in float64; it keeps as much as the head.
  A score costs a product with the head's weights.

  Args:
    percentile: The percentile :math:`p`, from 0 to 100; the default is the authors' for
      CIFAR-10 and CIFAR-100.

  Returns:
    A detector whose parameters are the sparse ``kernel``, shape ``[features, classes]``, and
    ``bias``, shape ``[classes]``.

  Raises:
    Unsupported: The fit, if the head is not linear.
    ValueError: If the percentile is not from 0 to 100. The fit, if there is no training example,
      one is not finite, or no contribution is above the percentile, as where all features are 0.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.detectors import Classifier
    >>> from isomax_jax.typing import Outputs
    >>> head_params = {"kernel": jnp.array([[1.0, 2.0], [3.0, -4.0]]), "bias": jnp.zeros(2)}
    >>> classifier = Classifier(None, None, head_params)
    >>> outputs = Outputs(logits=jnp.zeros((1, 2)), features=jnp.array([[1.0, 1.0]]))
    >>> detector = dice(percentile=50)
    >>> params = detector.fit(classifier, [(None, jnp.array([0]), outputs)])
    >>> print(params["kernel"])
    [[0. 2.]
     [3. 0.]]

  References:
    Sun and Li, *DICE: Leveraging Sparsification for Out-of-Distribution Detection*, 2022, Eqs. 2-5.
  """
  _checks.percentile("percentile", percentile)

  def fit(classifier, batches):
    kernel, bias = linear_head(classifier, detector="dice")
    sums, examples = np.zeros(()), 0
    for batch in training_batches(batches, detector="dice"):
      sums = sums + batch.features.sum(0)
      examples += len(batch.features)
    contributions = (sums / examples)[:, None] * np.asarray(kernel).astype(np.float64)
    kept = contributions > np.percentile(contributions, percentile)
    if not kept.any():
      raise ValueError(
        f"dice keeps the weights that contribute more than the percentile {percentile!r} of all, "
        f"{contributions.max()}: there is none"
      )
    return {"kernel": jnp.where(kept, kernel, 0), "bias": bias}

  def score(params, classifier, images, outputs):
    features = _checks.floating("features", outputs.features)
    logits = jnp.matmul(features, params["kernel"], precision=lax.Precision.HIGHEST)
    return scores.energy(logits + jnp.broadcast_to(params["bias"], logits.shape))

  return Detector(fit, score)
