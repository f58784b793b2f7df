"""KL matching: divergence from the nearest of the classes' mean posteriors."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import special

from isomax_jax import _checks, scores
from isomax_jax.detectors._training import training_batches
from isomax_jax.detectors.base import Detector


def kl_matching() -> Detector:
  r"""Rank by the negative divergence from the nearest class's mean posterior (KL matching).

  .. math:: -\min_k \operatorname{KL}(p \,\Vert\, d_k), \qquad
     d_k = \operatorname{mean}_{x : \operatorname{argmax} p(x) = k} p(x)

  Needs the logits, and one pass over training data, whose labels are not looked at: a template
  :math:`d_k` is the mean posterior, in float64, of what the network takes for the class, and a
  class that it predicts for no example has none. The authors make templates of held-out images;
  hand those in to do the same.

  Returns:
    A detector whose parameters are ``log_templates``, shape ``[predicted classes, classes]``.

  Raises:
    ValueError: Its fit, if there is no training example, or one is not finite.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> outputs = Outputs(logits=jnp.array([[9.0, 0.0], [0.0, 9.0]]), features=jnp.zeros((2, 4)))
    >>> detector = kl_matching()
    >>> params = detector.fit(None, [(None, jnp.array([0, 1]), outputs)])
    >>> unsure = outputs._replace(logits=jnp.array([[9.0, 0.0], [0.0, 0.0]]))
    >>> print(detector.score(params, None, None, unsure).round(2))
    [ 0.   -3.81]

  References:
    Hendrycks et al., *Scaling Out-of-Distribution Detection for Real-World Settings*, 2022,
    Section 3.
  """

  def fit(classifier, batches):
    sums = counts = np.zeros(())
    for batch in training_batches(batches, detector="kl_matching"):
      predicted = batch.logits.argmax(-1)[:, None] == np.arange(batch.logits.shape[-1])
      sums = sums + predicted.T.astype(np.float64) @ special.softmax(batch.logits, axis=-1)
      counts = counts + predicted.sum(0)
    templates = sums[counts > 0] / counts[counts > 0, None]
    # What underflows even in float64 must not be infinitely far.
    return {"log_templates": jnp.asarray(np.log(np.maximum(templates, np.finfo(np.float64).tiny)))}

  def score(params, classifier, images, outputs):
    logits = _checks.floating("logits", outputs.logits)
    # KL = Σ p log p - Σ p log d: the first sum has one that keeps the digits of certainty, and the
    # second is a matrix product instead of [batch, classes, classes].
    cross_entropies = -jnp.matmul(
      jax.nn.softmax(logits), params["log_templates"].T, precision=lax.Precision.HIGHEST
    )
    return -(jnp.min(cross_entropies, axis=-1) + scores.entropic_score(logits))

  return Detector(fit, score)
