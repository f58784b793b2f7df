"""The detectors by name: one record each."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from isomax_jax import scores
from isomax_jax._registry import Registry
from isomax_jax.detectors._ash import ash
from isomax_jax.detectors._dice import dice
from isomax_jax.detectors._gen import gen
from isomax_jax.detectors._gradnorm import gradnorm
from isomax_jax.detectors._kl_matching import kl_matching
from isomax_jax.detectors._knn import knn
from isomax_jax.detectors._mahalanobis import mahalanobis
from isomax_jax.detectors._odin import odin
from isomax_jax.detectors._react import react
from isomax_jax.detectors._relative_mahalanobis import relative_mahalanobis
from isomax_jax.detectors._she import she
from isomax_jax.detectors._vim import vim
from isomax_jax.detectors.base import Detector, from_logits

Need = Literal["features", "stages", "pixels", "linear head"]


class DetectorEntry(NamedTuple):
  """The record of a detector.

  Attributes:
    name: Its name in configs, scores and records.
    factory: Function of keyword-only options, all with defaults, to the detector.
    label: Its name in tables and figures.
    needs: What it needs beside the logits.
    heads: Names of the heads that it is meant for; None is meant for all. Others are refused by the
      fit or the score, if at all.
    fit_on: Which examples of the known set its fit gets: those that the network was trained on, or
      those held out from training; None for a detector without a fit.
  """

  name: str
  factory: Callable[..., Detector]
  label: str
  needs: tuple[Need, ...] = ()
  heads: tuple[str, ...] | None = None
  fit_on: Literal["training", "held_out"] | None = None

  @property
  def is_free(self) -> bool:
    """Whether it costs nothing beside the forward pass: logits alone, and no fit."""
    return not self.needs and self.fit_on is None


# Of heads whose logits grow with the evidence for a class. Unnormalised distances do not: with
# IsoMax these rank upside down.
_EVIDENCE = ("softmax", "isomax_plus", "dismax")
_LINEAR = ("softmax",)

DETECTORS = Registry(
  "detector",
  DetectorEntry,
  "isomax_jax.detectors:DETECTORS",
  [
    DetectorEntry("maximum_probability", partial(from_logits, scores.log_odds), "MPS"),
    DetectorEntry("entropic_score", partial(from_logits, scores.entropic_score), "ES"),
    DetectorEntry("max_logit", partial(from_logits, scores.max_logit), "max logit", (), _EVIDENCE),
    DetectorEntry("energy", partial(from_logits, scores.energy), "energy", (), _EVIDENCE),
    DetectorEntry("mmles", partial(from_logits, scores.mmles), "MMLES", (), _EVIDENCE),
    DetectorEntry("ash", ash, "ASH", ("features",), _EVIDENCE),
    DetectorEntry("dice", dice, "DICE", ("features", "linear head"), _LINEAR, "training"),
    DetectorEntry("gen", gen, "GEN"),
    DetectorEntry("gradnorm", gradnorm, "GradNorm", ("features",)),
    DetectorEntry("kl_matching", kl_matching, "KL matching", fit_on="training"),
    DetectorEntry("knn", knn, "kNN", ("features",), fit_on="training"),
    DetectorEntry(
      "mahalanobis", mahalanobis, "Mahalanobis", ("stages", "pixels"), fit_on="training"
    ),
    DetectorEntry("odin", odin, "ODIN", ("pixels",)),
    DetectorEntry("react", react, "ReAct", ("features",), _EVIDENCE, "training"),
    DetectorEntry(
      "relative_mahalanobis", relative_mahalanobis, "relative Mahalanobis", ("features",),
      fit_on="training",
    ),
    DetectorEntry("she", she, "SHE", ("features",), fit_on="training"),
    DetectorEntry("vim", vim, "ViM", ("features", "linear head"), _LINEAR, "training"),
  ],
  reserved=("all", "test", "validation"),
)  # fmt: skip
"""Detectors by name; ``DETECTORS.register(DetectorEntry(...))`` adds one."""


def create_detector(name: str) -> Detector:
  """Create a detector with its default options.

  Args:
    name: A key of ``DETECTORS``.

  Returns:
    The detector.

  Raises:
    ValueError: If the name is unknown.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> detector = create_detector("entropic_score")
    >>> outputs = Outputs(logits=jnp.array([[0.0, 0.0], [9.0, 0.0]]), features=jnp.zeros((2, 4)))
    >>> print(detector.score((), None, None, outputs).round(3))
    [-0.693 -0.001]
  """
  return DETECTORS.find(name).factory()
