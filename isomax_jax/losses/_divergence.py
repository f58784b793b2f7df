"""Divergence of target distributions from scaled logits."""

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.typing import LogitsLike, Loss, ScalarLike


def scaled_divergence(
  logits: LogitsLike,
  targets: LogitsLike,
  *,
  entropic_scale: ScalarLike = 10.0,
) -> Loss:
  r"""Compute the Kullback-Leibler divergence of target distributions from scaled logits.

  .. math:: \textstyle\sum_j t_j \bigl(\log t_j - \log \operatorname{softmax}(E_s L)_j\bigr)

  For targets that give everything to one class it is the scaled cross-entropy. Classes of
  probability zero add nothing, however unlikely the logits make them.

  Args:
    logits: Logits, shape ``[..., classes]``, floating.
    targets: Distributions over the classes, shape ``[..., classes]``, floating, that sum to 1.
    entropic_scale: The paper's :math:`E_s`. Used in training only; 1 at inference.

  Returns:
    The loss of each example, shape ``[...]``, at least float32.

  Raises:
    TypeError: If the logits or the targets are not floating.
    ValueError: If the shapes disagree or the scale is not positive.

  Example:
    >>> import jax.numpy as jnp
    >>> targets = jnp.array([[0.5, 0.5], [0.0, 1.0]])
    >>> print(scaled_divergence(jnp.zeros((2, 2)), targets).round(4))
    [0.     0.6931]

  References:
    Macêdo et al., *Distinction Maximization Loss*, Section 3.2.
  """
  logits = _checks.floating("logits", logits)
  targets = _checks.floating("targets", targets)
  _checks.has_classes("logits", logits)
  _checks.same_shape("targets", targets.shape, logits.shape)
  _checks.positive("entropic_scale", entropic_scale)
  log_probabilities = jax.nn.log_softmax(
    jnp.asarray(entropic_scale, logits.dtype) * logits, axis=-1
  )
  # Double where: neither log 0 nor 0 · inf may reach value or gradient.
  present = targets > 0
  log_targets = jnp.log(jnp.where(present, targets, 1))
  difference = jnp.where(present, log_targets - log_probabilities, 0)
  return jnp.sum(targets * difference, axis=-1)
