"""Calibration of a network's probabilities, before and after temperature scaling."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from isomax_jax import _checks
from isomax_jax.metrics import Reliability, reliability

# Edges follow from the number of bins.
_STORED = ("counts", "confidence", "accuracy")


class Calibration(NamedTuple):
  """The reliability of test logits, before and after they are divided by a temperature."""

  temperature: float
  before: Reliability
  after: Reliability


def measure_calibration(logits: ArrayLike, labels: ArrayLike, *, temperature: float) -> Calibration:
  """Compare confidence with accuracy, in 15 bins, before and after temperature scaling.

  See :func:`isomax_jax.metrics.reliability`; the temperature is fitted on other images than the
  logits, shape ``[images, classes]``, are of.

  Example:
    >>> calibration = measure_calibration([[1.0, 0.0], [1.0, 0.0]], [0, 0], temperature=0.1)
    >>> round(calibration.before.calibration_error, 3)
    0.269
    >>> round(calibration.after.calibration_error, 3)
    0.0
  """
  after = reliability(logits, labels, temperature=temperature)
  return Calibration(temperature, reliability(logits, labels), after)


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
  """Return a calibration as plain values, None where a bin is empty.

  Example:
    >>> values = calibration_to_json(measure_calibration([[1.0, 0.0]], [0], temperature=0.5))
    >>> list(values), values["calibrated"]["accuracy"][:2]
    (['temperature', 'uncalibrated', 'calibrated'], [None, None])
  """
  return {
    "temperature": calibration.temperature,
    "uncalibrated": _reliability_to_json(calibration.before),
    "calibrated": _reliability_to_json(calibration.after),
  }


def calibration_from_json(values: Mapping[str, Any]) -> Calibration:
  """Make a calibration from what :func:`calibration_to_json` gave.

  Raises:
    ValueError: If something is missing or of another kind.

  Example:
    >>> calibration = measure_calibration([[1.0, 0.0]], [0], temperature=0.5)
    >>> calibration_from_json(calibration_to_json(calibration)).temperature
    0.5
  """
  try:
    temperature = values["temperature"]
    _checks.typed("temperature", temperature, float)
    _checks.positive("temperature", temperature)
    before, after = (_reliability_from_json(values[k]) for k in ("uncalibrated", "calibrated"))
    return Calibration(temperature, before, after)
  except KeyError as error:
    raise ValueError(f"not a calibration: lacks {error}") from error
  except (TypeError, ValueError) as error:
    raise ValueError(f"not a calibration: {error}") from error


def _reliability_to_json(found: Reliability) -> dict[str, list[float | None]]:
  return {
    name: [None if np.isnan(value) else value for value in getattr(found, name).tolist()]
    for name in _STORED
  }


def _reliability_from_json(values: Mapping[str, Any]) -> Reliability:
  counts, confidence, accuracy = (np.array(values[name], np.float64) for name in _STORED)
  if counts.ndim != 1 or not ((counts >= 0) & (counts < 2**53)).all() or not counts.any():
    raise ValueError(f"counts must be those of bins, some above 0, got {values['counts']!r}")
  for name, array in (("confidence", confidence), ("accuracy", accuracy)):
    if array.shape != counts.shape or not ((array >= 0) & (array <= 1))[counts > 0].all():
      raise ValueError(f"{name} must be in [0, 1] where counts are above 0, got {values[name]!r}")
  return Reliability(np.linspace(0, 1, counts.size + 1), counts.astype(int), confidence, accuracy)
