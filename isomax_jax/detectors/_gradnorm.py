"""GradNorm: norm of the gradient by the head's weights."""

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.detectors.base import Classifier, Detector, Params, Unsupported, parameter_names
from isomax_jax.typing import AnyArray, Outputs, Scores


def gradnorm(*, temperature: float = 1.0) -> Detector:
  r"""Rank by the L1 norm of a gradient: of the divergence from uniform, by the head's weights.

  .. math:: s = \Bigl\lVert \frac{\partial}{\partial W}
    \operatorname{KL}\bigl(u \,\Vert \operatorname{softmax}(L / T)\bigr) \Bigr\rVert_1
    = \frac 1 T \lVert f \rVert_1 \, \lVert \operatorname{softmax}(L / T) - u \rVert_1

  with :math:`u = 1 / C`; the right-hand side is that of a linear head, :math:`L = f W + b`, whose
  gradient is an outer product.

  Needs features and logits. Costs nothing beyond the forward pass with a linear head. Another head
  is differentiated by its parameters for each example, ``classes * features`` numbers each: those
  of two axes or more, as prototypes are, and no bias or scale, as the authors take the weights
  alone. They sum over the classes where the divergence averages: their score is :math:`C` times
  this one.

  Args:
    temperature: The temperature :math:`T`, positive; the default is the authors'.

  Returns:
    A detector without a fit.

  Raises:
    ValueError: If the temperature is not positive.
    Unsupported: In the score, if the head has no weights of two axes or more.

  Example:
    >>> import jax.numpy as jnp
    >>> head_params = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    >>> classifier = Classifier(outputs=None, head=None, head_params=head_params)
    >>> features = jnp.array([[1.0, 1.0], [5.0, 0.0]])
    >>> print(gradnorm().score((), classifier, None, Outputs(features, features)).round(3))
    [0.    4.933]

  References:
    Huang, Geng and Li, *On the Importance of Gradients for Detecting Distributional Shifts in the
    Wild*, 2021, Eq. 4 and 8, and its program.
  """
  _checks.positive("temperature", temperature)

  def score(params: tuple, classifier: Classifier, images: AnyArray, outputs: Outputs) -> Scores:
    features = _checks.floating("features", outputs.features)
    if set(parameter_names(classifier.head_params)) == {"kernel", "bias"}:
      logits = _checks.floating("logits", outputs.logits)
      by_logits = jax.nn.softmax(logits / temperature, axis=-1) - 1 / logits.shape[-1]
      length_of_features = jnp.sum(jnp.abs(features), axis=-1)
      return length_of_features * jnp.sum(jnp.abs(by_logits), axis=-1) / temperature
    return jax.vmap(lambda f: _gradient_norm(classifier, f, temperature))(features)

  return Detector(fit=lambda classifier, batches: (), score=score)


def _gradient_norm(classifier: Classifier, features: jax.Array, temperature: float) -> jax.Array:
  def divergence(params: Params) -> jax.Array:
    # Less the uniform distribution's entropy, which is constant.
    return -jnp.mean(jax.nn.log_softmax(classifier.head(params, features) / temperature))

  gradients = jax.tree.leaves(jax.grad(divergence)(classifier.head_params))
  weights = [gradient for gradient in gradients if gradient.ndim >= 2]
  if not weights:
    names = ", ".join(parameter_names(classifier.head_params)) or "none"
    raise Unsupported(
      f"gradnorm needs a head with weights of two axes or more; this one has {names}"
    )
  return jax.tree.reduce(jnp.add, [jnp.sum(jnp.abs(gradient)) for gradient in weights])
