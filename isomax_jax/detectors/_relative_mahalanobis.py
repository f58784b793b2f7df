"""Relative Mahalanobis distance: to the nearest class mean, less that to all the data."""

import jax.numpy as jnp
import numpy as np

from isomax_jax.detectors._gaussians import Projection, parameter, whitening
from isomax_jax.detectors._moments import fit_moments
from isomax_jax.detectors.base import Detector


def relative_mahalanobis() -> Detector:
  r"""Rank by the Mahalanobis distance to the nearest class mean less that to the whole data's.

  .. math:: s = -\min_c \bigl[(f - \mu_c)^T \Sigma^{+} (f - \mu_c)
    - (f - \mu_0)^T \Sigma_0^{+} (f - \mu_0)\bigr]

  with :math:`f` the head's input, :math:`\mu_c` and :math:`\Sigma` the class means and their tied
  covariance, :math:`\mu_0` and :math:`\Sigma_0` mean and covariance of all the data.

  Needs features, and one pass over labelled training data, in which it holds the class means and a
  covariance. Costs nothing beyond the forward pass.

  The two distances agree in every direction in which the class means do not differ, so the score
  is computed in the others alone, at most ``classes - 1`` of them, where nothing large cancels:
  with :math:`\Sigma` whitened, :math:`\Sigma_0` is the identity and the class means' covariance.
  Where :math:`\Sigma` is singular, directions without variance within the classes count for
  nothing in either distance; a pseudo-inverse of each by itself would let the second reward what
  the first ignores. A single class scores 0 throughout.

  Returns:
    A detector whose parameters are a ``projection`` to the span of the class means, and in its
    coordinates the ``mean`` of all data and the ``background``, their inverse variances.

  Raises:
    ValueError: In the fit, if there is no example, a class has none, a label is no class, or
      features are not finite or do not vary within any class.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> features = jnp.array([[-2.0], [0.0], [0.0], [2.0]])
    >>> outputs = Outputs(logits=jnp.zeros((4, 2)), features=features)
    >>> detector = relative_mahalanobis()
    >>> params = detector.fit(None, [(None, jnp.array([0, 0, 1, 1]), outputs)])
    >>> test = Outputs(logits=jnp.zeros((2, 2)), features=jnp.array([[1.0], [0.0]]))
    >>> print(detector.score(params, None, None, test))
    [ 0.5 -1. ]

  References:
    Ren et al., *A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection*, 2021.
  """

  def fit(classifier, batches):
    name = "relative_mahalanobis"
    (moments,) = fit_moments(batches, lambda outputs: (outputs.features,), detector=name)
    centre, matrix, means = whitening(moments, detector=name)
    mean = moments.shares @ means
    between = np.sqrt(moments.shares)[:, None] * (means - mean)
    # The class means' principal axes, of which the last has no length: they lie around their mean.
    _, lengths, axes = np.linalg.svd(between, full_matrices=False)
    dimensions = min(len(means) - 1, len(axes))
    axes = axes[:dimensions].T
    background = 1 / (1 + np.square(lengths[:dimensions]))
    return {
      "projection": Projection(*map(parameter, (centre, matrix @ axes, means @ axes))),
      "mean": parameter(mean @ axes),
      "background": parameter(background),
    }

  def score(params, classifier, images, outputs):
    y = params["projection"].project(outputs.features)
    from_mean = jnp.square(y - jnp.broadcast_to(params["mean"], y.shape))
    to_all = jnp.sum(from_mean * jnp.broadcast_to(params["background"], y.shape), axis=-1)
    return to_all - params["projection"].smallest_square(y)

  return Detector(fit, score)
