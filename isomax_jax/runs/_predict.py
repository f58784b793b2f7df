"""Predictions for image files: class, probability, and known or unknown."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import nn

from isomax_jax import _checks, data
from isomax_jax._files import naming
from isomax_jax.decision import is_known
from isomax_jax.detectors import create_detector
from isomax_jax.evaluation.measure import Fitted, pass_through, score_sets
from isomax_jax.heads import HEADS
from isomax_jax.reporting.results import read_decision
from isomax_jax.runs._load import load
from isomax_jax.runs.directory import DECISION, read_config

_IMAGES_AT_A_TIME = 1024


class Prediction(NamedTuple):
  """What a run predicts for an image.

  Attributes:
    path: The file.
    label: Name of the most probable class.
    probability: Its probability, calibrated with the temperature of the validation images.
    score: The run's detector's score; higher is more known.
    known: Whether the score reaches the run's threshold.
  """

  path: Path
  label: str
  probability: float
  score: float
  known: bool


class Refusal(NamedTuple):
  """A file that cannot be predicted for, and why."""

  path: Path
  reason: str


def predict(
  run_dir: str | os.PathLike[str], patterns: Sequence[str | os.PathLike[str]]
) -> list[Prediction | Refusal]:
  """Predict the class of image files and decide whether each is known.

  Args:
    run_dir: A run directory with a decision.
    patterns: Files, folders and globs; see :func:`isomax_jax.data.find_images`.

  Returns:
    A prediction for each readable image and a refusal for each other one, in the files' order.

  Raises:
    FileNotFoundError: If a pattern matches nothing.
    ValueError: If the directory is not a trained run or has no decision.

  Example:
    >>> three, cat = predict("runs/digits", ["3.png", "cat.png"])  # doctest: +SKIP
    >>> three.label, three.known, cat.known  # doctest: +SKIP
    ('3', True, False)
  """
  read_config(Path(run_dir))  # It says of a directory that it is no run.
  path = Path(run_dir, DECISION)
  decision = read_decision(path) if path.exists() else None
  if decision is None:
    raise ValueError(
      f"{run_dir} has no {DECISION}: train it to the end, with data.validation above 0"
    )
  paths = data.find_images(patterns)
  run = load(run_dir)
  spec = run.known.spec
  with naming(Path(run_dir, DECISION)):
    if decision["class_names"] != list(run.known.class_names):
      raise ValueError("class_names are not those of the set in data.json")
    own = {head.detector for head in HEADS.values()}
    _checks.one_of("detector of a decision", decision["detector"], own)
    detectors = {decision["detector"]: Fitted(create_detector(decision["detector"]))}
  if not spec.is_images:
    raise ValueError(f"{run_dir} was trained on {spec.name}, which holds no images")
  answers: dict[Path, Prediction | Refusal] = {}
  for start in range(0, len(paths), _IMAGES_AT_A_TIME):
    images = {}
    for path in paths[start : start + _IMAGES_AT_A_TIME]:
      try:
        images[path] = data.read_image(path, spec.image_shape)
      except data.ImageError as error:
        answers[path] = Refusal(path, str(error))
    if not images:
      continue
    stacked = np.stack(list(images.values())), np.zeros(len(images), np.int32)
    scored = pass_through(run.classifier, stacked)
    (scores,) = score_sets(detectors, run.classifier, {"images": scored}).values()
    known = is_known(scores, decision["threshold"])
    probabilities = np.asarray(
      nn.softmax(jnp.asarray(scored.outputs.logits) / decision["temperature"])
    )
    for path, row, score, accepted in zip(images, probabilities, scores, known, strict=True):
      label = decision["class_names"][int(np.argmax(row))]
      answers[path] = Prediction(path, label, float(row.max()), float(score), bool(accepted))
  return [answers[path] for path in paths]
