"""Decide about image files: which class, how probable, known or unknown."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import nn

from isomax_jax import _checks, data
from isomax_jax._files import naming
from isomax_jax.decision import is_known
from isomax_jax.detectors import create_detector
from isomax_jax.evaluation import read_run
from isomax_jax.evaluation.benchmark import Fitted, score_sets
from isomax_jax.jobs.train import DETECTOR_OF_HEAD
from isomax_jax.jobs.trained import load_trained

_IMAGES_AT_A_TIME = 1024


class Prediction(NamedTuple):
  """What a run says of an image.

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
  """A file that could not be answered for, and why."""

  path: Path
  reason: str


def predict_files(
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
  """
  decision = read_run(run_dir).decision
  if decision is None:
    raise ValueError(
      f"{run_dir} has no decision.json: train it to the end, with data.validation above 0"
    )
  paths = data.find_images(patterns)
  trained = load_trained(run_dir)
  with naming(Path(run_dir, "decision.json")):
    detector = {decision["detector"]: _detector(decision, trained.setup.class_names)}
  answers: dict[Path, Prediction | Refusal] = {}
  for start in range(0, len(paths), _IMAGES_AT_A_TIME):
    images = {}
    for path in paths[start : start + _IMAGES_AT_A_TIME]:
      try:
        images[path] = data.read_image(path, trained.setup.spec.image_shape)
      except data.ImageError as error:
        answers[path] = Refusal(path, str(error))
    if not images:
      continue
    scored = trained.score(np.stack(list(images.values())), np.zeros(len(images), np.int32))
    (scores,) = score_sets(detector, trained.classifier, {"images": scored}).values()
    known = is_known(scores, decision["threshold"])
    probabilities = np.asarray(
      nn.softmax(jnp.asarray(scored.outputs.logits) / decision["temperature"])
    )
    for path, row, score, accepted in zip(images, probabilities, scores, known, strict=True):
      label = decision["class_names"][int(np.argmax(row))]
      answers[path] = Prediction(path, label, float(row.max()), float(score), bool(accepted))
  return [answers[path] for path in paths]


def _detector(decision: Mapping[str, Any], class_names: Sequence[str]) -> Fitted:
  """Create a decision's detector, and check that the decision is one of the run's network."""
  if decision["class_names"] != list(class_names):
    raise ValueError("class_names are not those of the set in data.json")
  _checks.one_of("detector of a decision", decision["detector"], DETECTOR_OF_HEAD.values())
  return Fitted(create_detector(decision["detector"]))
