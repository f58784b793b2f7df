"""Mahalanobis distance to class means, at one stage of the network or at several."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import special

from isomax_jax import _checks
from isomax_jax.detectors._gaussians import Projection, parameter, whitening
from isomax_jax.detectors._moments import fit_moments
from isomax_jax.detectors.adversarial import gradient_sign
from isomax_jax.detectors.base import Batches, Classifier, Detector, Unsupported
from isomax_jax.typing import AnyArray, Outputs, ScalarLike, Scores

Params = tuple[Projection, ...]


def mahalanobis(
  *, epsilon: float = 0.0, weights: Sequence[float] | AnyArray | None = None
) -> Detector:
  r"""Rank by the Mahalanobis distance to the nearest class mean, at the last stage or all stages.

  .. math:: s_i = \max_c -\tfrac 1 2 (f_i - \mu_{ic})^T \Sigma_i^{+} (f_i - \mu_{ic}), \qquad
    s = \textstyle\sum_i w_i s_i

  with :math:`f_i` the spatial mean of the activations at stage :math:`i`, :math:`\mu_{ic}` its mean
  over class :math:`c`, and :math:`\Sigma_i` its covariance around the class means, tied over the
  classes. Without weights :math:`s` is the last stage's score, the authors' without their "feature
  ensemble": stages differ too much in scale for a plain sum to mean anything. Weights come from
  :func:`fit_stage_weights`.

  With an epsilon each stage is scored at an input of its own, as the authors do:
  :math:`x_i' = x - \epsilon \operatorname{sign} \nabla_x (-s_i)`, :math:`\operatorname{sign}(0)`
  being +1, on pixels and without clipping, with the gradient taken through the normalisation.

  Needs the stages of the outputs (a network without them counts as one of a single stage, the
  head's input), and one pass over labelled training data, in which it holds the class means and a
  covariance of each stage. Costs nothing beyond the forward pass without an epsilon; with one, a
  forward and a backward pass up to the stage and another forward pass, for each stage that is
  scored.

  The covariance is in float64 and its inverse the pseudo-inverse, as the authors' (scikit-learn's)
  is: a direction whose variance is below 1e-10 of the largest, as dead channels have, or too few
  examples to span the space, counts for nothing, in a test image either. Their cut is at some
  1e-13, where the float32 of both is rounding.

  Args:
    epsilon: The step :math:`\epsilon` in pixels, 0 or more. The authors choose it among 0, .0005,
      .001, .0014, .002, .005 and .01 on validation data.
    weights: One weight a stage, from :func:`fit_stage_weights`; None scores the last stage alone.

  Returns:
    A detector. Its fit does not depend on the options: fitted parameters serve all of them.

  Raises:
    ValueError: If the epsilon is negative or the weights are not finite numbers. In the fit, if
      there is no example, a class has none, a label is no class, or features are not finite or do
      not vary within any class.
    Unsupported: In fit and score, if the network has not as many stages as there are weights.

  Example:
    >>> import jax.numpy as jnp
    >>> features = jnp.array([[0.0], [2.0], [10.0], [12.0]])
    >>> outputs = Outputs(logits=jnp.zeros((4, 2)), features=features)
    >>> detector = mahalanobis()
    >>> params = detector.fit(None, [(None, jnp.array([0, 0, 1, 1]), outputs)])
    >>> test = Outputs(logits=jnp.zeros((2, 2)), features=jnp.array([[1.0], [6.0]]))
    >>> print(detector.score(params, None, None, test))
    [ -0.  -12.5]

  References:
    Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks*, 2018, Eq. 2 and Algorithm 1, and its program.
  """
  _checks.not_negative("epsilon", epsilon)
  of_stages = None if weights is None else np.array(weights, np.float64)
  if of_stages is not None and not (
    of_stages.ndim == 1 and of_stages.size > 0 and np.isfinite(of_stages).all()
  ):
    raise ValueError(f"weights must be one finite number a stage, got {of_stages.tolist()}")

  def fit(classifier: Classifier, batches: Batches) -> Params:
    moments = fit_moments(batches, _stages, detector="mahalanobis")
    if of_stages is not None:
      _check_stages(len(of_stages), len(moments))
    whitenings = [whitening(each, detector="mahalanobis") for each in moments]
    return tuple(Projection(*map(parameter, arrays)) for arrays in whitenings)

  def score(params: Params, classifier: Classifier, images: AnyArray, outputs: Outputs) -> Scores:
    if of_stages is None:
      return _stage_score(params, classifier, images, outputs, epsilon=epsilon, stage=-1)
    _check_stages(len(of_stages), len(params))
    scores = stage_scores(params, classifier, images, outputs, epsilon=epsilon)
    return jnp.sum(scores * jnp.broadcast_to(jnp.array(of_stages), scores.shape), axis=-1)

  return Detector(fit, score)


def stage_scores(
  params: Params,
  classifier: Classifier,
  images: AnyArray,
  outputs: Outputs[AnyArray],
  *,
  epsilon: ScalarLike = 0.0,
) -> Float[jax.Array, "batch stages"]:
  """Score every stage of the network, for :func:`fit_stage_weights`.

  Args:
    params: What ``mahalanobis().fit`` gave.
    classifier: The classifier; like the images, not used without an epsilon.
    images: Pixels of [0, 1], shape ``[batch, height, width, channels]``.
    outputs: The classifier's outputs for the images.
    epsilon: The step in pixels, 0 or more; a traced scalar makes one program for all steps.

  Returns:
    The score of each example at each stage, shape ``[batch, stages]``.

  Raises:
    ValueError: If the epsilon is negative.
    Unsupported: If the outputs have not the stages that were fitted.

  Example:
    >>> import jax.numpy as jnp
    >>> stages = (jnp.array([[0.0], [2.0]]), jnp.array([[0.0], [4.0]]))
    >>> outputs = Outputs(jnp.zeros((2, 1)), stages[-1], stages)
    >>> params = mahalanobis().fit(None, [(None, jnp.array([0, 0]), outputs)])
    >>> stages = (jnp.array([[3.0]]), jnp.array([[2.0]]))
    >>> print(stage_scores(params, None, None, Outputs(jnp.zeros((1, 1)), stages[-1], stages)))
    [[-2. -0.]]
  """
  _checks.not_negative("epsilon", epsilon)
  score = partial(_stage_score, params, classifier, images, outputs, epsilon=epsilon)
  return jnp.stack([score(stage=stage) for stage in range(len(params))], axis=-1)


def fit_stage_weights(
  in_scores: ArrayLike, out_scores: ArrayLike, *, penalty: float = 1.0
) -> tuple[float, ...]:
  r"""Fit the weights of the stages by logistic regression of in- against out-examples.

  .. math:: \min_{w, b} \textstyle\sum_n \log \bigl(1 + e^{-t_n (w \cdot z_n + b)}\bigr)
    + \tfrac \lambda 2 \lVert w \rVert^2

  with :math:`z` the scores less their mean, over their standard deviation, and :math:`t` +1 for in,
  -1 for out. The weights are returned for the scores as they are; the intercept, which ranks
  nothing, is left out. The authors fit the raw scores and choose the penalty among ten by cross-
  validation; standardised, a stage is not penalised for its scale, and one penalty does.

  Args:
    in_scores: :func:`stage_scores` of in-distribution examples, shape ``[examples, stages]``.
    out_scores: Those of examples that stand for unknown ones, such as :func:`fgsm` makes of
      in-distribution ones, shape ``[examples, stages]``.
    penalty: :math:`\lambda`, positive; finite weights need one where the two are separable.

  Returns:
    One weight a stage, for :func:`mahalanobis`.

  Raises:
    ValueError: If the shapes do not fit together, a score is not finite, there are no examples on
      one side, or the penalty is not positive.

  Example:
    >>> weights = fit_stage_weights([[2.0, 0.0], [3.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]])
    >>> print([round(weight, 3) for weight in weights])
    [0.872, -0.395]

  References:
    Lee et al., *A Simple Unified Framework for Detecting Out-of-Distribution Samples and
    Adversarial Attacks*, 2018, Section 2.2.
  """
  _checks.positive("penalty", penalty)
  in_scores = _checked_scores("in_scores", in_scores)
  out_scores = _checked_scores("out_scores", out_scores)
  if in_scores.shape[1] != out_scores.shape[1]:
    raise ValueError(
      f"in_scores and out_scores must have the same stages, got {in_scores.shape[1]} and "
      f"{out_scores.shape[1]}"
    )
  from scipy.optimize import minimize  # a quarter of a second that no other detector need pay

  scores = np.concatenate([in_scores, out_scores])
  signs = np.repeat([1.0, -1.0], [len(in_scores), len(out_scores)])
  spread = scores.std(axis=0)
  spread[spread == 0] = 1
  z = np.c_[(scores - scores.mean(axis=0)) / spread, np.ones(len(scores))]
  ridge = penalty * np.r_[np.ones(scores.shape[1]), 0]

  def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
    margins = signs * (z @ w)
    gradient = ridge * w - z.T @ (signs * special.expit(-margins))
    return np.logaddexp(0, -margins).sum() + ridge @ np.square(w) / 2, gradient

  def hessian(w: np.ndarray) -> np.ndarray:
    p = special.expit(z @ w)
    return (z.T * (p * (1 - p))) @ z + np.diag(ridge)

  start = np.zeros(len(ridge))
  # By Newton's method in a trust region, which converges from anywhere for a convex loss.
  options = {"gtol": 1e-9 * len(scores)}
  found = minimize(loss, start, jac=True, hess=hessian, method="trust-exact", options=options)
  return tuple((found.x[:-1] / spread).tolist())


def _stage_score(
  params: Params,
  classifier: Classifier,
  images: AnyArray,
  outputs: Outputs[AnyArray],
  *,
  epsilon: ScalarLike,
  stage: int,
) -> jax.Array:
  _check_stages(len(params), len(_stages(outputs)))

  def loss(outputs: Outputs[AnyArray]) -> jax.Array:
    projection = params[stage]
    return projection.smallest_square(projection.project(_stages(outputs)[stage])) / 2

  if isinstance(epsilon, jax.Array) or epsilon > 0:
    sign = gradient_sign(lambda images: loss(classifier.outputs(images)), images)
    outputs = classifier.outputs(jnp.asarray(images) - epsilon * sign)
  return -loss(outputs)


def _stages(outputs: Outputs[AnyArray]) -> tuple[AnyArray, ...]:
  return outputs.stages or (outputs.features,)


def _check_stages(expected: int, stages: int) -> None:
  if expected != stages:
    raise Unsupported(f"mahalanobis of {expected} stages cannot serve a network of {stages}")


def _checked_scores(name: str, scores: ArrayLike) -> np.ndarray:
  scores = np.asarray(scores, np.float64)
  if scores.ndim != 2 or scores.size == 0:
    raise ValueError(
      f"{name} must have shape [examples, stages], with one or more, got {scores.shape}"
    )
  if not np.isfinite(scores).all():
    raise ValueError(f"{name} must be finite, got {np.sum(~np.isfinite(scores))} that are not")
  return scores
