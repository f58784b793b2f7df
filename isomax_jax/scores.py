"""Scores of the logits at inference, without an entropic scale: higher is more in-distribution."""

import jax
import jax.numpy as jnp

from isomax_jax import _arrays, _checks
from isomax_jax.typing import LogitsLike, ScalarLike, Scores


def maximum_probability(logits: LogitsLike) -> Scores:
  r"""Compute the maximum probability (MPS).

  .. math:: \max_j p_j, \qquad p = \operatorname{softmax}(L)

  In float32 it saturates at 1, with many ties on a confident network: to rank, take
  :func:`log_odds`, which orders alike without them.

  Args:
    logits: Logits, shape ``[..., classes]``, floating.

  Returns:
    The score of each example, shape ``[...]``, in ``[1 / classes, 1]``.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> print(maximum_probability(jnp.array([[0.0, 0.0], [100.0, 0.0]])))
    [0.5 1. ]

  References:
    Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks*.
  """
  # Not sigmoid(-x), whose derivative is zero from where it rounds to 1.
  return jnp.exp(-jax.nn.softplus(-log_odds(logits)))


def log_odds(logits: LogitsLike) -> Scores:
  r"""Compute the log-odds of the most probable class against all the others together.

  .. math:: \log \frac{\max_j p_j}{1 - \max_j p_j}

  A monotone form of :func:`maximum_probability` that does not saturate.

  Args:
    logits: Logits, shape ``[..., classes]``, floating.

  Returns:
    The score of each example, shape ``[...]``; ``inf`` for a single class.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> print(log_odds(jnp.array([[2.0, 0.0], [200.0, 0.0]])))
    [  2. 200.]
  """
  _, log_others = _gaps_and_log_others(_logits(logits))
  return -log_others


def entropic_score(logits: LogitsLike) -> Scores:
  r"""Compute the entropic score (ES): the negative entropy of the probabilities.

  .. math:: \sum_j p_j \log p_j, \qquad p = \operatorname{softmax}(L)

  The paper's Eq. 6 prints the opposite sign; its text and its results use this one.
  :math:`p \log p` is 0 at :math:`p = 0`.

  Args:
    logits: Logits, shape ``[..., classes]``, floating.

  Returns:
    The score of each example, shape ``[...]``, in ``[-log(classes), 0]``, in nats.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> print(entropic_score(jnp.array([[0.0, 0.0], [100.0, 0.0]])).round(4))
    [-0.6931  0.    ]

  References:
    Macêdo et al., *Isotropy Maximization Loss and Entropic Score*, Eq. 6.
  """
  gaps, log_others = _gaps_and_log_others(_logits(logits))
  log_normalizer = jax.nn.softplus(log_others)
  probabilities = jnp.exp(gaps - log_normalizer[..., None])
  # Σ p log p with log p = gap - log_normalizer: the largest class, with no gap, cannot cancel the
  # others. A gap of -inf times its probability, 0, would be NaN.
  gaps = jnp.where(probabilities == 0, 0, gaps)
  return jnp.sum(probabilities * gaps, axis=-1) - log_normalizer


def max_logit(logits: LogitsLike) -> Scores:
  r"""Compute the maximum logit; for distance logits, the minimum-distance score.

  .. math:: \max_j L_j

  Args:
    logits: Logits, shape ``[..., classes]``, floating.

  Returns:
    The score of each example, shape ``[...]``.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> print(max_logit(jnp.array([[-3.0, -1.0], [2.0, 0.0]])))
    [-1.  2.]

  References:
    Macêdo and Ludermir, *Enhanced Isotropy Maximization Loss*, for distances; Hendrycks et al.,
    *Scaling Out-of-Distribution Detection for Real-World Settings*, for linear heads.
  """
  logits = _logits(logits)
  # By index: jaxlib 0.10 can give a wrong gradient of jnp.max in a program for several devices.
  return _arrays.value_of_class(logits, jnp.argmax(logits, axis=-1))


def energy(logits: LogitsLike, *, temperature: ScalarLike = 1.0) -> Scores:
  r"""Compute the negative free energy.

  .. math:: T \log \textstyle\sum_j e^{L_j / T}

  Args:
    logits: Logits, shape ``[..., classes]``, floating.
    temperature: The temperature :math:`T`, positive.

  Returns:
    The score of each example, shape ``[...]``.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class or the temperature is not positive.

  Example:
    >>> import jax.numpy as jnp
    >>> print(energy(jnp.array([[0.0, 0.0], [2.0, 0.0]])).round(4))
    [0.6931 2.1269]

  References:
    Liu et al., *Energy-based Out-of-distribution Detection*, Eq. 4.
  """
  _checks.positive("temperature", temperature)
  return jnp.multiply(temperature, jax.nn.logsumexp(_logits(logits) / temperature, axis=-1))


def mmles(logits: LogitsLike) -> Scores:
  r"""Compute the max-mean logit entropic score of DisMax.

  .. math:: \max_j L_j + \tfrac 1 C \textstyle\sum_j L_j + \sum_j p_j \log p_j

  Args:
    logits: Logits, shape ``[..., classes]``, floating.

  Returns:
    The score of each example, shape ``[...]``.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> print(mmles(jnp.array([[0.0, 0.0], [100.0, 0.0]])).round(4))
    [ -0.6931 150.    ]

  References:
    Macêdo et al., *Distinction Maximization Loss*, Section 3.
  """
  return max_logit(logits) + jnp.mean(_logits(logits), axis=-1) + entropic_score(logits)


def _logits(logits: LogitsLike) -> jax.Array:
  logits = _checks.floating("logits", logits)
  _checks.has_classes("logits", logits)
  return logits


def _gaps_and_log_others(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return logits less the largest, and the log of the other classes' mass relative to it.

  With the largest left out of the sum, a mass of the others of 1e-30 keeps all its digits.
  """
  is_maximum = _arrays.is_class(jnp.argmax(logits, axis=-1), logits.shape[-1])
  maximum = jnp.sum(jnp.where(is_maximum, logits, 0), axis=-1, keepdims=True)
  # The constant zero, rather than a difference that is zero, has no rounding in its derivative.
  gaps = jnp.where(is_maximum, 0, logits - maximum)
  return gaps, jax.nn.logsumexp(jnp.where(is_maximum, -jnp.inf, gaps), axis=-1)
