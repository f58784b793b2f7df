"""Accuracy and likelihood of a classifier."""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax import _checks
from isomax_jax.metrics._ranking import real


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
  r"""Compute the share of examples whose largest logit is the label's.

  .. math:: \frac1n \#\{i : \arg\max_j L_{ij} = y_i\}

  Of tied logits the first counts as the largest, as in ``argmax``.

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.

  Returns:
    The accuracy, in [0, 1].

  Raises:
    TypeError: If the logits are not real numbers, or the labels not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite or a label
      names no class.

  Example:
    >>> accuracy([[2.0, 0.0], [1.0, 3.0], [0.0, 1.0], [5.0, 4.0]], [0, 1, 0, 0])
    0.75
  """
  logits, labels = labelled_logits(logits, labels)
  return float(np.mean(logits.argmax(axis=1) == labels))


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike) -> float:
  r"""Compute the mean negative log-likelihood of the labels.

  .. math:: -\frac1n \sum_i \log \operatorname{softmax}(L_i)_{y_i}

  Args:
    logits: Logits, shape ``[examples, classes]``, real and finite.
    labels: Class indices, shape ``[examples]``, integer.

  Returns:
    The mean over examples, in nats.

  Raises:
    TypeError, ValueError: As :func:`accuracy` does.

  Example:
    >>> round(negative_log_likelihood([[0.0, 0.0], [0.0, 0.0]], [0, 1]), 6)  # log 2
    0.693147
  """
  logits, labels = labelled_logits(logits, labels)
  chosen = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
  return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen))


def labelled_logits(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
  """Return checked logits less each example's largest, so that no exponential overflows; labels."""
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
