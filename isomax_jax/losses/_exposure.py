"""Outlier exposure."""

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.typing import LogitsLike, Loss, ScalarLike


def outlier_exposure(logits: LogitsLike, *, entropic_scale: ScalarLike = 10.0) -> Loss:
  r"""Compute the cross-entropy of outliers' logits with the uniform distribution.

  .. math:: -\tfrac 1 C \textstyle\sum_j \log \operatorname{softmax}(E_s L)_j

  Its authors add half of its mean over the outliers to the mean cross-entropy of the
  in-distribution examples.

  Args:
    logits: Logits of outliers, shape ``[..., classes]``, floating.
    entropic_scale: The scale of the cross-entropy that it is added to.

  Returns:
    The loss of each outlier, shape ``[...]``, at least float32; ``log(classes)`` at the least.

  Raises:
    TypeError: If the logits are not floating.
    ValueError: If there is no class or the scale is not positive.

  Example:
    >>> import jax.numpy as jnp
    >>> print(outlier_exposure(jnp.array([[0.0, 0.0], [0.0, -1.0]])).round(4))
    [0.6931 5.    ]

  References:
    Hendrycks et al., *Deep Anomaly Detection with Outlier Exposure*, Section 4.3.
  """
  logits = _checks.floating("logits", logits)
  _checks.has_classes("logits", logits)
  _checks.positive("entropic_scale", entropic_scale)
  scaled = jnp.asarray(entropic_scale, logits.dtype) * logits
  return -jnp.mean(jax.nn.log_softmax(scaled, axis=-1), axis=-1)
