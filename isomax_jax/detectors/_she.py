"""SHE: inner product of features with the mean pattern of the predicted class."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from isomax_jax import _checks
from isomax_jax.detectors._training import training_batches
from isomax_jax.detectors.base import Detector


def she() -> Detector:
  r"""Rank by the inner product with the predicted class's mean features (SHE).

  .. math:: f \cdot \mu_{\hat y}, \qquad
     \mu_k = \operatorname{mean}_{x : \hat y(x) = y(x) = k} f(x), \quad
     \hat y = \operatorname{argmax} L

  Needs features and logits, and one pass over labelled training data, of which the correctly
  classified count. The means are taken in float64. The authors' optional perturbation of the
  input is left out.

  Returns:
    A detector whose parameters are ``patterns``, shape ``[classes, features]``.

  Raises:
    ValueError: Its fit, if there is no training example, one is not finite, or a class has none
      that is correctly classified.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> outputs = Outputs(logits=jnp.eye(2), features=jnp.array([[2.0, 0.0], [0.0, 3.0]]))
    >>> detector = she()
    >>> params = detector.fit(None, [(None, jnp.array([0, 1]), outputs)])
    >>> print(detector.score(params, None, None, outputs))
    [4. 9.]

  References:
    Zhang et al., *Out-of-Distribution Detection Based on In-Distribution Data Patterns
    Memorization with Modern Hopfield Energy*, 2023.
  """

  def fit(classifier, batches):
    sums = counts = np.zeros(())
    for batch in training_batches(batches, detector="she"):
      predicted = batch.logits.argmax(-1)
      is_pattern = predicted[:, None] == np.arange(batch.logits.shape[-1])
      is_pattern &= (predicted == batch.labels)[:, None]
      sums = sums + is_pattern.T.astype(np.float64) @ batch.features
      counts = counts + is_pattern.sum(0)
    missing = np.flatnonzero(counts == 0)
    if missing.size:
      raise ValueError(
        "she needs a correctly classified training example of every class; "
        f"of {len(counts)} there is none of {missing.size}, class {missing[0]} the first"
      )
    return {"patterns": jnp.asarray(sums / counts[:, None])}

  def score(params, classifier, images, outputs):
    features = _checks.floating("features", outputs.features)
    patterns = params["patterns"][jnp.argmax(outputs.logits, axis=-1)]
    return jnp.einsum("...d,...d->...", features, patterns, precision=lax.Precision.HIGHEST)

  return Detector(fit, score)
