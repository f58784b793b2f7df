"""Choice of a detector's options on validation images and surrogates of unknown ones.

Surrogates are never the unknown sets that a detector is then measured on: they are adversarial
examples of the validation images, noise, or another set that is named.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax.detectors import (
  Batches,
  Classifier,
  fgsm,
  fit_stage_weights,
  mahalanobis,
  odin,
  odin_score,
  stage_scores,
)
from isomax_jax.evaluation.measure import Fitted, ScoredSet
from isomax_jax.evaluation.predict import predict, to_pixels
from isomax_jax.metrics import auroc, tnr_at_tpr

ADVERSARIAL = "adversarial"
"""Name of :func:`adversarial_examples` as surrogates, in options and records."""

ODIN_TEMPERATURES = (1.0, 10.0, 100.0, 1000.0)
ODIN_EPSILONS = (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.0024, 0.005, 0.01, 0.05, 0.1, 0.2)
MAHALANOBIS_EPSILONS = (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.005, 0.01)


class Candidate(NamedTuple):
  """A detector with some options, and its scores of known images and of surrogates."""

  fitted: Fitted
  in_scores: np.ndarray
  surrogate_scores: np.ndarray


Grid = Callable[[Classifier, Batches, ScoredSet, ScoredSet], Iterator[Candidate]]
"""Network, training data, known images and surrogates to the candidates of a detector."""


def tune(
  grid: Grid,
  classifier: Classifier,
  batches: Batches,
  in_validation: ScoredSet,
  surrogate: ScoredSet,
  *,
  surrogate_name: str,
) -> Fitted:
  """Choose the candidate that rejects most surrogates where 95 % of known images are accepted.

  Of several that reject as many, the one with the largest area under the ROC curve is chosen, and
  of those the first. Known images and surrogates are neither trained nor tested on; the name of the
  surrogates is for records.

  Example:
    >>> def grid(classifier, batches, in_validation, surrogate):
    ...   for name, surrogate_scores in (("bad", [5.0, 6.0]), ("good", [0.0, 5.0])):
    ...     fitted = Fitted(None, options={"name": name})
    ...     yield Candidate(fitted, np.array([3.0, 4.0]), np.array(surrogate_scores))
    >>> tune(grid, None, [], None, None, surrogate_name="noise").options
    {'name': 'good'}
  """

  def value(candidate: Candidate) -> tuple[float, float]:
    scores = candidate.in_scores, candidate.surrogate_scores
    return tnr_at_tpr(*scores), auroc(*scores)

  chosen = max(grid(classifier, batches, in_validation, surrogate), key=value)
  return chosen.fitted._replace(tuned_on=surrogate_name)


def odin_grid(
  classifier: Classifier, batches: Batches, in_validation: ScoredSet, surrogate: ScoredSet
) -> Iterator[Candidate]:
  """Yield ODIN at the paper's temperatures and perturbations; see :data:`Grid`."""

  @jax.jit
  def score(constants, images):
    classifier, options = constants
    return odin_score(classifier, to_pixels(images), **options)

  for temperature in ODIN_TEMPERATURES:
    for epsilon in ODIN_EPSILONS:
      options = {"temperature": temperature, "epsilon": epsilon}
      scores = [
        predict(score, (classifier, options), each.images) for each in (in_validation, surrogate)
      ]
      yield Candidate(Fitted(odin(**options), (), options), *scores)


def mahalanobis_grid(
  classifier: Classifier, batches: Batches, in_validation: ScoredSet, surrogate: ScoredSet
) -> Iterator[Candidate]:
  """Yield the Mahalanobis detector at the authors' perturbations; see :data:`Grid`.

  The weights of the stages are fitted on every second image of each set, and the candidates
  compared on the others.
  """
  params = mahalanobis().fit(classifier, batches)

  @jax.jit
  def score(constants, inputs):
    params, classifier, epsilon = constants
    images, outputs = inputs
    return stage_scores(params, classifier, to_pixels(images), outputs, epsilon=epsilon)

  for epsilon in MAHALANOBIS_EPSILONS:
    scores = [
      predict(score, (params, classifier, epsilon), (each.images, each.outputs))
      for each in (in_validation, surrogate)
    ]
    weights = fit_stage_weights(*(each[::2] for each in scores))
    options = {"epsilon": epsilon, "weights": weights}
    fitted = Fitted(mahalanobis(**options), params, options)
    yield Candidate(fitted, *(each[1::2] @ np.array(weights) for each in scores))


GRIDS: Mapping[str, Grid] = {"mahalanobis": mahalanobis_grid, "odin": odin_grid}
"""The grids of the detectors whose options the paper chooses, by the detector's name."""


def adversarial_examples(classifier: Classifier, examples: ScoredSet) -> ScoredSet:
  """Return the adversarial examples by which rightly classified images become misclassified.

  They are made by :func:`isomax_jax.detectors.fgsm`, and the others left out, as in the paper. The
  images are pixels of [0, 1], float32, with the labels of those that they were made of.

  Raises:
    ValueError: If there are none.
  """

  @jax.jit
  def attack(classifier: Classifier, inputs: Any) -> Any:
    images, labels = inputs
    attacked = fgsm(classifier, to_pixels(images), labels)
    return attacked, classifier.outputs(attacked)

  images, outputs = predict(attack, classifier, (examples.images, examples.labels))
  right, still_right = (
    each.logits.argmax(-1) == examples.labels for each in (examples.outputs, outputs)
  )
  chosen = right & ~still_right
  if not chosen.any():
    raise ValueError(
      f"there are no adversarial examples to tune on: none of {len(images)} images changed its "
      "class; tune on noise or on a named set"
    )
  return ScoredSet(*jax.tree.map(lambda x: x[chosen], (images, examples.labels, outputs)))
