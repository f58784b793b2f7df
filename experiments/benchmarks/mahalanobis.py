"""Measure the memory and time of Mahalanobis's fit, which keeps no features, in one run.

Peer: the way of the authors' program, which keeps the features of all images and hands their
differences from the class means to scikit-learn's EmpiricalCovariance. Both get the same batches,
drawn as they are asked for, so that the input itself is never held; what drawing alone takes is
listed too. Memory is the rise of the resident set's peak in a process of its own.

Run with ``python -m experiments.benchmarks.mahalanobis``; it needs Linux and the ``bench`` extra.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from experiments.benchmarks import _memory, _report
from isomax_jax.detectors import create_detector
from isomax_jax.typing import Outputs

WIDTHS = (64, 64, 128, 256, 512)
BATCH, CLASSES = 250, 10
# Calls, by the number of rows.
REPEATS = {5_000: 5, 20_000: 3, 80_000: 1}


class Batches:
  """Training data drawn anew, and alike, in each pass: ``rows`` examples of all stages."""

  def __init__(self, rows: int):
    self.rows = rows

  def __iter__(self) -> Iterator[tuple[None, np.ndarray, Outputs]]:
    random = np.random.default_rng(0)
    logits = np.zeros((BATCH, CLASSES), np.float32)
    for _ in range(self.rows // BATCH):
      labels = random.integers(0, CLASSES, BATCH)
      means = labels[:, None].astype(np.float32)
      stages = tuple(means + random.standard_normal((BATCH, width), np.float32) for width in WIDTHS)
      yield None, labels, Outputs(logits, features=stages[-1], stages=stages)


def main(arguments: Sequence[str] | None = None) -> None:
  """Print a table for each number of rows, and what the memory does as rows grow."""
  report, _ = _report.parse(
    "mahalanobis", __doc__, ("jax", "numpy", "scikit-learn"), arguments, on_host=True
  )
  print(f"fit of {'-'.join(map(str, WIDTHS))} features a row, {CLASSES} classes")
  megabytes = {}
  for rows, repeats in REPEATS.items():
    usages = {
      name: _memory.measure(prepare, rows, repeats=repeats)
      for name, prepare in (
        ("batches alone", prepare_batches),
        ("isomax_jax", prepare_detector),
        ("scikit-learn", prepare_scikit_learn),
      )
    }
    case = f"fit to {rows:,} rows, {rows * sum(WIDTHS) * 4 / 1e6:.0f} MB of float32"
    report.usages(case, usages, repeats=repeats)
    _, own, peer = usages.values()
    megabytes[rows] = own.megabytes
    report.ratio(case, "scikit-learn / isomax_jax", peer.seconds / own.seconds)
    report.ratio(case, "memory of scikit-learn / of isomax_jax", peer.megabytes / own.megabytes)
    difference = max(
      np.max(np.abs(a - b)) / np.max(np.abs(b))
      for a, b in zip(own.result, peer.result, strict=True)
    )
    print(f"largest relative difference of a stage's precision: {difference:.0e}")
  fewest, *_, most = megabytes
  grown = megabytes[most] / megabytes[fewest]
  print()
  what = f"memory of {most:,} rows / of {fewest:,}, isomax_jax"
  report.ratio("growth with the rows", what, grown, at_most=1.2)


def prepare_batches(rows: int) -> Callable[[], None]:
  """Return a function that draws all batches and drops them."""

  def draw() -> None:
    for _ in Batches(rows):
      pass

  return draw


def prepare_detector(rows: int) -> Callable[[], list[np.ndarray]]:
  """Return the library's fit, as precision matrices."""

  def fit(rows: int) -> list[np.ndarray]:
    params = create_detector("mahalanobis").fit(None, Batches(rows))
    return [np.float64(stage.matrix) @ np.float64(stage.matrix).T for stage in params]

  fit(4 * BATCH)
  return functools.partial(fit, rows)


def prepare_scikit_learn(rows: int) -> Callable[[], list[np.ndarray]]:
  """Return the fit that keeps all features, as precision matrices."""
  from sklearn.covariance import EmpiricalCovariance

  def fit(rows: int) -> list[np.ndarray]:
    labels, outputs = zip(*((labels, outputs) for _, labels, outputs in Batches(rows)), strict=True)
    labels, precisions = np.concatenate(labels), []
    for stage in range(len(WIDTHS)):
      features = np.concatenate([each.stages[stage] for each in outputs])
      for label in range(CLASSES):
        features[labels == label] -= features[labels == label].mean(axis=0)
      precisions.append(EmpiricalCovariance(assume_centered=True).fit(features).precision_)
    return precisions

  fit(4 * BATCH)
  return functools.partial(fit, rows)


if __name__ == "__main__":
  main()
