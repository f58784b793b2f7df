"""How well the classifier tells the known classes from each other."""

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax.metrics._logits import labelled_logits


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
    TypeError: If the logits are not real numbers, or the labels not integers.
    ValueError: If the shapes disagree, there is no example, a logit is not finite or a label
      names no class.

  Example:
    >>> round(negative_log_likelihood([[0.0, 0.0], [0.0, 0.0]], [0, 1]), 6)  # log 2
    0.693147
  """
  logits, labels = labelled_logits(logits, labels)
  chosen = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
  return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen))
