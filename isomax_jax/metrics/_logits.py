"""Checked logits with their labels, for the metrics that look at the classes."""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax import _checks
from isomax_jax.metrics._ranking import real


def labelled_logits(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  """Return checked logits, less each example's largest, and their labels.

  Softmax does not change when the largest logit is subtracted, and no exponential of what is
  left overflows.

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.

  Returns:
    The shifted logits, float64, with a largest value of exactly 0 in each row; the labels.

  Raises:
    TypeError: If the logits are not real numbers, or the labels not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite or a label
      names no class.
  """
  logits, labels = real("logits", logits).astype(np.float64), np.asarray(labels)
  if logits.ndim != 2 or logits.size == 0:
    raise ValueError(
      f"logits must have shape [examples, classes] with one or more of each, got {logits.shape}"
    )
  _checks.same_shape("labels", labels.shape, logits.shape[:1])
  if not np.issubdtype(labels.dtype, np.integer):
    raise TypeError(f"labels must be integers, got dtype {labels.dtype}")
  classes = logits.shape[1]
  outside = (labels < 0) | (labels >= classes)
  if outside.any():
    raise ValueError(f"labels must be in 0..{classes - 1}, got {labels[outside][0]}")
  if not np.isfinite(logits).all():
    raise ValueError(f"logits must be finite, got {logits[~np.isfinite(logits)][0]}")
  return logits - logits.max(axis=1, keepdims=True), labels
