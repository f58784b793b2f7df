"""GEN: generalized entropy of the largest probabilities."""

import jax
import jax.numpy as jnp
from jax import lax

from isomax_jax import _checks, scores
from isomax_jax.detectors.base import Detector


def gen(*, gamma: float = 0.1, top: int = 100) -> Detector:
  r"""Rank by the negative generalized entropy of the largest probabilities (GEN).

  .. math:: -\sum_{j=1}^{M} p_{(j)}^\gamma (1 - p_{(j)})^\gamma,
     \qquad p_{(1)} \ge p_{(2)} \ge \dots, \quad p = \operatorname{softmax}(L)

  Needs the logits alone. The authors subtract probabilities from 1; a small power of what float32
  rounds to 0 is a large error there, so this form takes the logarithm of the other classes' mass
  instead.

  Args:
    gamma: The power :math:`\gamma`, above 0 and below 1; the default is the authors'.
    top: How many of the largest probabilities count, the paper's :math:`M`; all of them where
      there are fewer classes. The default, 100, is the authors' for 1,000 classes.

  Returns:
    A detector without a fit.

  Raises:
    ValueError: If an option is out of its range.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> outputs = Outputs(logits=jnp.array([[0.0, 0.0], [9.0, 0.0]]), features=jnp.zeros((2, 4)))
    >>> print(gen().score((), None, None, outputs).round(3))
    [-1.741 -0.813]

  References:
    Liu et al., *GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection*, 2023.
  """
  _checks.positive("gamma", gamma)
  if gamma >= 1:
    raise ValueError(f"gamma must be below 1, got {gamma!r}")
  _checks.count("top", top)

  def score(params, classifier, images, outputs):
    logits = _checks.floating("logits", outputs.logits)
    log_p, _ = lax.top_k(jax.nn.log_softmax(logits), min(top, logits.shape[-1]))
    # The largest probability may round to 1: the logarithm of the rest keeps its digits.
    log_rest_of_largest = -jax.nn.softplus(scores.log_odds(logits))[..., None]
    log_rest = jnp.concatenate([log_rest_of_largest, jnp.log1p(-jnp.exp(log_p[..., 1:]))], axis=-1)
    return -jnp.sum(jnp.exp(gamma * (log_p + log_rest)), axis=-1)

  return Detector(fit=lambda classifier, batches: (), score=score)
