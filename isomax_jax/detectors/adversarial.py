"""Steps of images by the sign of a gradient, and adversarial examples made by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float, Integer

from isomax_jax import _checks
from isomax_jax.detectors.base import Classifier
from isomax_jax.losses import scaled_cross_entropy
from isomax_jax.typing import AnyArray, ScalarLike

_Pixels = Float[jax.Array, "batch *example"]
_PixelsLike = Float[AnyArray, "batch *example"]


def gradient_sign(loss: Callable[[jax.Array], jax.Array], images: _PixelsLike) -> _Pixels:
  """Return the sign of the gradient of each image's loss by its pixels, with +1 for zero.

  A loss is the function of its own image alone, so the gradient of their sum holds each one's.
  Zero counts as positive where the authors of the methods compare with ``>= 0``; NaN stays NaN.

  Args:
    loss: Images, shape ``[batch, ...]``, to losses, shape ``[batch]``.
    images: Pixels of [0, 1], shape ``[batch, ...]``, floating.

  Returns:
    Signs, of the images' shape.

  Raises:
    TypeError: If the images are not floating.

  Example:
    >>> import jax.numpy as jnp
    >>> print(gradient_sign(lambda x: jnp.sum(x * x, axis=-1), jnp.array([[0.5, -2.0, 0.0]])))
    [[ 1. -1.  1.]]
  """
  images = _checks.floating("images", images)
  gradient = jax.grad(lambda images: jnp.sum(loss(images)))(images)
  return jnp.where(gradient == 0, jnp.ones_like(gradient), jnp.sign(gradient))


def fgsm(
  classifier: Classifier,
  images: _PixelsLike,
  labels: Integer[AnyArray, " batch"],
  *,
  epsilon: ScalarLike = 0.05,
) -> _Pixels:
  r"""Step once along the sign of the loss' gradient, within the pixels' range.

  .. math:: \operatorname{clip}_{[0, 1]} \bigl(x + \epsilon \operatorname{sign} \nabla_x
    \operatorname{CE}(L(x), y)\bigr)

  The cross-entropy is that of the probabilities at inference, without an entropic scale; the
  gradient goes through the normalisation. :math:`\operatorname{sign}(0) = +1`, as Lee et al. have
  it.

  Args:
    classifier: The classifier.
    images: Pixels of [0, 1], shape ``[batch, ...]``, floating.
    labels: Class indices, shape ``[batch]``, integer; true ones, for the attack that they name.
      The image of a label that is no class turns NaN.
    epsilon: The step in pixels, 0 or more; the default is that of Lee et al.

  Returns:
    Adversarial images, in the shape of the images: stand-ins for unknown data on which to choose a
    detector's options.

  Raises:
    TypeError: If the images are not floating or the labels not integers.
    ValueError: If the epsilon is negative or the shapes disagree.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> def outputs(images):
    ...   return Outputs(images.reshape(-1, 2), images.reshape(-1, 2))
    >>> classifier = Classifier(outputs=outputs, head=None, head_params=None)
    >>> images = jnp.array([1.0, 0.5]).reshape(1, 1, 1, 2)
    >>> print(fgsm(classifier, images, jnp.array([0]), epsilon=0.25).ravel())
    [0.75 0.75]

  References:
    Goodfellow, Shlens and Szegedy, *Explaining and Harnessing Adversarial Examples*, 2015; the
    options are those of Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks*, 2018.
  """
  _checks.not_negative("epsilon", epsilon)

  def loss(images: jax.Array) -> jax.Array:
    return scaled_cross_entropy(classifier.outputs(images).logits, labels, entropic_scale=1.0)

  return jnp.clip(images + epsilon * gradient_sign(loss, images), 0, 1)
