"""ViM: energy less a virtual logit, the features' residual off their main directions."""

import numpy as np

from isomax_jax import _checks, scores
from isomax_jax.detectors._gaussians import Projection, exact_mean, parameter
from isomax_jax.detectors._moments import fit_moments
from isomax_jax.detectors.base import Batches, Detector, linear_head


def vim(*, dimension: int | None = None) -> Detector:
  r"""Rank by the free energy less a virtual logit: the scaled norm of the features' residual.

  .. math:: s = \log \textstyle\sum_j e^{L_j} - \alpha \lVert R^T (f - o) \rVert, \qquad
    o = -(W^T)^{+} b, \qquad
    \alpha = \frac{\sum_n \max_j L_j(x_n)}{\sum_n \lVert R^T (f_n - o) \rVert}

  with :math:`R` the eigenvectors of :math:`\sum_n (f_n - o)(f_n - o)^T` but those of the
  ``dimension`` largest eigenvalues, and :math:`n` over training data. It orders as the authors'
  score, the probability of the virtual logit among all logits, negated; their program takes this
  form.

  Needs features, a linear head, and two passes over training data, labels aside, in which it holds
  a covariance. Costs nothing beyond the forward pass.

  Args:
    dimension: Number of main directions, less than the number of features. None takes the authors'
      1000 of 2,048 features or more and 512 of 768 or more, and of fewer, which they have not, the
      half: the 256 of 512 that OpenOOD takes for CIFAR.

  Returns:
    A detector whose parameters are a ``projection`` to the residual space, with the origin as its
    only mean, and the ``scale`` :math:`\alpha`.

  Raises:
    ValueError: If the dimension is not a positive integer. In the fit, if it is not less than the
      number of features, there is no example, features are not finite or have no residual, or the
      largest logits are not positive on average, so that no positive scale fits them.
    Unsupported: In the fit, if the head is not linear.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.detectors import Classifier
    >>> from isomax_jax.typing import Outputs
    >>> head_params = {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}
    >>> classifier = Classifier(outputs=None, head=None, head_params=head_params)
    >>> features = jnp.array([[4.0, 1.0], [4.0, -1.0]])
    >>> detector = vim(dimension=1)
    >>> params = detector.fit(classifier, [(None, None, Outputs(features, features))])
    >>> test = jnp.array([[4.0, 0.0], [4.0, 2.0]])
    >>> print(detector.score(params, classifier, None, Outputs(test, test)).round(1))
    [ 4.  -3.9]

  References:
    Wang et al., *ViM: Out-Of-Distribution with Virtual-logit Matching*, 2022, and its program.
  """
  if dimension is not None:
    _checks.count("dimension", dimension)

  def fit(classifier, batches):
    kernel, bias = (np.asarray(p, np.float64) for p in linear_head(classifier, detector="vim"))
    (moments,) = fit_moments(
      batches, lambda outputs: (outputs.features,), detector="vim", by_class=False
    )
    features = len(kernel)
    main = _default_dimension(features) if dimension is None else dimension
    if main >= features:
      raise ValueError(f"vim needs a dimension less than the {features} features, got {main}")
    origin = -np.linalg.pinv(kernel.T) @ bias
    offset = moments.mean - origin
    _, directions = np.linalg.eigh(moments.tied_covariance + np.outer(offset, offset))
    residual = directions[:, : features - main]
    centre = exact_mean(moments)
    arrays = centre, residual, ((origin - centre) @ residual)[None]
    scale = parameter(_scale(batches, origin, residual))
    return {"projection": Projection(*map(parameter, arrays)), "scale": scale}

  def score(params, classifier, images, outputs):
    projection = params["projection"]
    residuals = projection.distances(projection.project(outputs.features))
    return scores.energy(outputs.logits) - params["scale"] * residuals[..., 0]

  return Detector(fit, score)


def _default_dimension(features: int) -> int:
  if features >= 2048:
    return 1000
  return 512 if features >= 768 else features // 2


def _scale(batches: Batches, origin: np.ndarray, residual: np.ndarray) -> float:
  """Return the sum of the largest logits over that of the residuals' norms."""
  logits = norms = lengths = 0.0
  for _, _, outputs in batches:
    vectors = np.asarray(outputs.features, np.float64) - origin
    norms += np.linalg.norm(vectors @ residual, axis=-1).sum()
    lengths += np.linalg.norm(vectors, axis=-1).sum()
    logits += np.asarray(outputs.logits, np.float64).max(axis=-1, initial=-np.inf).sum()
  if lengths == 0:
    raise ValueError("vim needs training data: there was no example when iterated again")
  # Of features that lie in the main directions to the last bit, rounding is all that is left.
  if norms <= 1e-12 * lengths:
    raise ValueError("vim needs features with a residual off the main directions, got none")
  if not logits > 0:
    raise ValueError(
      "vim needs largest logits that are positive on average, to be matched by a scale"
    )
  return logits / norms
