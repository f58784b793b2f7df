"""Detectors that need nothing but the logits: no fit, no extra pass."""

from collections.abc import Callable

import jax

from isomax_jax import scores
from isomax_jax.detectors.base import Detector


def _from_logits(score: Callable[[jax.Array], jax.Array]) -> Detector:
  return Detector(
    fit=lambda classifier, batches: (),
    score=lambda params, classifier, images, outputs: score(outputs.logits),
  )


def maximum_probability() -> Detector:
  """Rank by the maximum probability, in the form that does not saturate (``scores.log_odds``)."""
  return _from_logits(scores.log_odds)


def entropic_score() -> Detector:
  """Rank by the negative entropy of the probabilities."""
  return _from_logits(scores.entropic_score)


def max_logit() -> Detector:
  """Rank by the largest logit."""
  return _from_logits(scores.max_logit)


def energy(*, temperature: float = 1.0) -> Detector:
  """Rank by the negative free energy."""
  return _from_logits(lambda logits: scores.energy(logits, temperature=temperature))


def mmles() -> Detector:
  """Rank by the max-mean logit entropic score."""
  return _from_logits(scores.mmles)
