"""Cross-entropy of scaled logits."""

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax._arrays import is_class, value_of_class
from isomax_jax.typing import LabelsLike, LogitsLike, Loss, ScalarLike


def scaled_cross_entropy(
  logits: LogitsLike, labels: LabelsLike, *, entropic_scale: ScalarLike = 10.0
) -> Loss:
  r"""Compute the cross-entropy of logits multiplied by the entropic scale.

  .. math:: -\log \operatorname{softmax}(E_s L)_y = \log \bigl(1 + e^{-m}\bigr), \qquad
    m = E_s L_y - \log \textstyle\sum_{j \ne y} e^{E_s L_j}

  The authors take softmax and logarithm one after the other. The form here, by the margin
  :math:`m` of the label over all other classes together, is equal in exact arithmetic; in
  floating point it stays finite where theirs underflows (:math:`E_s` times the gap above 88 in
  float32), and keeps its digits, and its gradient's, where the loss is tiny.

  Both round in units of the scaled logits: in float32, beyond the usual 1e-6 relative, the loss may
  be off by :math:`2 \cdot 10^{-7} \max_j \lvert E_s L_j \rvert` absolute, and the gradient by as
  much relative; that is 2 % where scaled logits are 1e5, and no digit is left where they are 1e7.

  Args:
    logits: Logits, shape ``[..., classes]``, floating; for IsoMax, negative distances.
    labels: Class indices, shape ``[...]``, integer. A label outside ``0 .. classes - 1`` gives
      NaN, in the gradient too.
    entropic_scale: The paper's :math:`E_s`. Used in training only; 1 at inference.

  Returns:
    The loss of each example, shape ``[...]``, at least float32.

  Raises:
    TypeError: If the logits are not floating or the labels not integers.
    ValueError: If the shapes disagree or the scale is not positive.

  Example:
    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[-1.0, -1.0], [-0.5, -1.5]])
    >>> print(scaled_cross_entropy(logits, jnp.array([0, 1]), entropic_scale=10.0).round(4))
    [ 0.6931 10.    ]

  References:
    Macêdo et al., *Isotropy Maximization Loss and Entropic Score*, Eq. 3 and 4.
  """
  logits = _checks.floating("logits", logits)
  labels = _checks.integer("labels", labels)
  _checks.has_classes("logits", logits)
  _checks.same_shape("labels", labels.shape, logits.shape[:-1])
  _checks.positive("entropic_scale", entropic_scale)
  # The number of classes may not fit the labels' own dtype: uint8 with 1,000 classes.
  labels = labels.astype(int)
  loss = _cross_entropy(jnp.asarray(entropic_scale, logits.dtype) * logits, labels)
  valid = (labels >= 0) & (labels < logits.shape[-1])
  return loss * jnp.where(valid, 1, jnp.nan)


@jax.custom_jvp
def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
  return jax.nn.softplus(-_margin(logits, labels)[0])


@_cross_entropy.defjvp
def _cross_entropy_jvp(primals, tangents):
  # The derivative by the margin keeps its digits where 1 - p cancels, in one pass over the classes.
  logits, labels = primals
  margin, others, log_others = _margin(logits, labels)
  is_label = is_class(labels, logits.shape[-1]).astype(logits.dtype)
  gradient = jnp.exp(others - log_others[..., None]) - is_label
  gradient = jax.nn.sigmoid(-margin)[..., None] * gradient
  return jax.nn.softplus(-margin), jnp.sum(gradient * tangents[0], axis=-1)


def _margin(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Return the label's logit over the others' log-sum-exp, the others, and that log-sum-exp."""
  is_label = is_class(labels, logits.shape[-1])
  # A finite stand-in for -inf: with a single class there is no other, and 0 · inf is NaN.
  others = jnp.where(is_label, jnp.finfo(logits.dtype).min, logits)
  log_others = jax.nn.logsumexp(others, axis=-1)
  return value_of_class(logits, labels) - log_others, others, log_others
