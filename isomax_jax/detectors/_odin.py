"""ODIN: maximum probability at a temperature, after a step of the pixels."""

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax._arrays import is_class
from isomax_jax.detectors.adversarial import gradient_sign
from isomax_jax.detectors.base import Classifier, Detector
from isomax_jax.typing import AnyArray, Outputs, ScalarLike, Scores


def odin(*, temperature: float = 1000.0, epsilon: float = 0.0014) -> Detector:
  r"""Rank by the maximum probability at a temperature, after a step of the pixels that raises it.

  .. math:: x' = x - \epsilon \operatorname{sign} \nabla_x
    \operatorname{CE}(L(x) / T, \hat y), \qquad
    s = -T \log \Bigl( \tfrac{1}{C - 1} \sum_{j \ne m} e^{(L_j(x') - L_m(x')) / T} \Bigr)

  with :math:`\hat y` the predicted class, :math:`m` the one of the largest logit of :math:`x'`, and
  :math:`\operatorname{sign}(0) = +1`, as the authors have it. They score by
  :math:`\max_j p_j = 1 / (1 + (C - 1) e^{-s / T})`, of which :math:`s` is an increasing function:
  at a temperature of 1,000 the probabilities differ from :math:`1 / C` by little, so that float32
  leaves few digits, and at 1 they round to 1; :math:`s` keeps its digits at either end.

  Needs the gradient by the pixels. Costs a forward and a backward pass and another forward pass,
  about four times a plain forward pass in all; nothing at an epsilon of 0, which takes the outputs
  that are handed in.

  The step is in pixels of [0, 1], with the gradient taken through the normalisation: the authors
  divide their step in normalised pixels by the standard deviation, which is the same. Neither
  they nor this clip the pixels to [0, 1] afterwards. The sign is that of the gradient of
  :math:`-s`, which is the cross-entropy's up to a positive factor; where the factor underflows
  and the authors' sign turns +1 throughout, this one stays right.

  Args:
    temperature: The temperature :math:`T`, positive; the default is the authors'. The grid of the
      paper's Table 2 is 1, 10, 100, 1000.
    epsilon: The step :math:`\epsilon` in pixels, 0 or more; the default is that of the authors'
      program, for a DenseNet on CIFAR-10. They choose it on validation data.

  Returns:
    A detector without a fit; one class alone scores ``inf``.

  Raises:
    ValueError: If the temperature is not positive or the epsilon is negative.

  Example:
    >>> import jax.numpy as jnp
    >>> def outputs(images):
    ...   return Outputs(images.reshape(-1, 2), images.reshape(-1, 2))
    >>> images = jnp.array([0.5, 0.5, 0.75, 0.25]).reshape(2, 1, 1, 2)
    >>> classifier = Classifier(outputs=outputs, head=None, head_params=None)
    >>> print(odin(epsilon=0.0625).score((), classifier, images, outputs(images)).round(3))
    [0.125 0.625]

  References:
    Liang, Li and Srikant, *Enhancing The Reliability of Out-of-distribution Image Detection in
    Neural Networks*, 2018, and its program.
  """
  _checks.positive("temperature", temperature)
  _checks.not_negative("epsilon", epsilon)

  def score(params: tuple, classifier: Classifier, images: AnyArray, outputs: Outputs) -> Scores:
    if epsilon == 0:
      return _soft_gap(outputs.logits, temperature)
    return odin_score(classifier, images, temperature=temperature, epsilon=epsilon)

  return Detector(fit=lambda classifier, batches: (), score=score)


def odin_score(
  classifier: Classifier, images: AnyArray, *, temperature: ScalarLike, epsilon: ScalarLike
) -> Scores:
  """Score as :func:`odin` does, by options that may be arrays: one program for a whole grid.

  Args:
    classifier: The classifier.
    images: Pixels of [0, 1], shape ``[batch, height, width, channels]``, floating.
    temperature: The temperature, a positive scalar.
    epsilon: The step in pixels, a scalar.

  Returns:
    Scores, shape ``[batch]``.

  Example:
    >>> import jax.numpy as jnp
    >>> def outputs(images):
    ...   return Outputs(images.reshape(-1, 2), images.reshape(-1, 2))
    >>> images = jnp.array([0.75, 0.25]).reshape(1, 1, 1, 2)
    >>> classifier = Classifier(outputs=outputs, head=None, head_params=None)
    >>> score = jax.jit(lambda e: odin_score(classifier, images, temperature=1.0, epsilon=e))
    >>> print(score(0.0).round(3), score(0.0625).round(3))
    [0.5] [0.625]
  """

  def loss(images: jax.Array) -> jax.Array:
    return -_soft_gap(classifier.outputs(images).logits, temperature)

  images = jnp.asarray(images)
  return -loss(images - epsilon * gradient_sign(loss, images))


def _soft_gap(logits: AnyArray, temperature: ScalarLike) -> jax.Array:
  """Return how far the largest logit is above the others, averaged in the temperature's way."""
  logits = _checks.floating("logits", logits)
  _checks.has_classes("logits", logits)
  is_maximum = is_class(jnp.argmax(logits, axis=-1), logits.shape[-1])
  maximum = jnp.sum(jnp.where(is_maximum, logits, 0), axis=-1, keepdims=True)
  gaps = jnp.where(is_maximum, 0, logits - maximum) / temperature
  others = max(logits.shape[-1] - 1, 1)
  log_mean = jax.nn.logsumexp(jnp.where(is_maximum, -jnp.inf, gaps), axis=-1) - jnp.log(others)
  # Of small gaps the sum of exponentials is a count of classes, which swallows them.
  less_one = jnp.sum(jnp.expm1(gaps), axis=-1) / others
  is_small = less_one > -0.5
  log_of_small = jnp.log1p(jnp.where(is_small, less_one, 0))
  log_mean = jnp.where(is_small & (logits.shape[-1] > 1), log_of_small, log_mean)
  return -jnp.multiply(temperature, log_mean)
