"""Comparison of detectors on one trained network: metrics, costs and figures."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isomax_jax import _checks, data
from isomax_jax._files import write_arrays
from isomax_jax.detectors import DETECTORS, create_detector
from isomax_jax.evaluation.measure import TEST, VALIDATION, Fitted, Measurement
from isomax_jax.evaluation.timing import relative_times
from isomax_jax.evaluation.tuning import ADVERSARIAL, GRIDS
from isomax_jax.reporting import Record, write_records
from isomax_jax.runs._evaluate import Tuning, find_out_sets, make_records, measure_run
from isomax_jax.runs._load import Run, load

BENCHMARK = "benchmark"
"""The folder of a run directory that a comparison is written to."""
_HELD_OUT = 1000
_TIMED_IMAGES = 128
# Sets of small photographs of objects: each is near to the others.
_PHOTOGRAPHS = {"cifar10", "cifar100", "tiny_imagenet_resize", "odin_imagenet_resize"}


class Benchmark(NamedTuple):
  """The result of comparing detectors.

  Attributes:
    records: The numbers, times among them.
    near: The unknown sets that are near to the known one; the others are far.
    refused: Why detectors are not among the records, by name.
  """

  records: list[Record]
  near: tuple[str, ...]
  refused: dict[str, ValueError]


def benchmark(
  run_dir: str | os.PathLike[str],
  *,
  out_sets: Sequence[str] | None = None,
  near: Sequence[str] | None = None,
  detectors: Sequence[str] | None = None,
  tune_on: str | None = ADVERSARIAL,
  tune_on_test: bool = False,
  experiment: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
  report: Callable[[str], None] = lambda what: None,
) -> Benchmark:
  """Compare detectors on the network of a run directory.

  The folder ``benchmark`` of the run directory gets ``records.jsonl``, ``scores.npz``, ``roc.png``
  and ``scores.png``, in place of earlier ones. Where options are tuned, or a detector is fitted to
  held-out images, and the run kept no validation images, a thousand of the test images, or a tenth
  where there are fewer than ten thousand, are taken for it and left out of every number.

  Args:
    run_dir: The run directory.
    out_sets: References of unknown sets; None takes :func:`find_out_sets`.
    near: Those of them that are near to the known set; None takes other classes of the known set,
      and small photographs of objects where the known set holds such.
    detectors: Names of detectors; None takes all.
    tune_on: What options are chosen on, as :class:`Tuning` has it; None leaves the defaults.
    tune_on_test: Whether that may be one of the unknown sets.
    experiment: Name of the protocol in the records; None takes the directory's name.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    report: Called with what is being done.

  Raises:
    ValueError: If the directory is not a trained run, an out-set does not fit it, a detector is
      unknown, or there is nothing to tune on.

  Example:
    >>> result = benchmark("runs/digits", detectors=["energy", "knn"])  # doctest: +SKIP
  """
  from isomax_jax.reporting import detector_figures
  from isomax_jax.reporting.figures import save_figure

  run_dir = Path(run_dir)
  names = sorted(DETECTORS) if detectors is None else detectors
  created = {name: create_detector(name) for name in names}
  run = load(run_dir)
  out_sets = find_out_sets(run, data_dir=data_dir) if out_sets is None else out_sets
  for argument, values in (("detectors", names), ("out_sets", out_sets)):
    if not values:
      raise ValueError(f"{argument} must name one or more, got none")
  if near is None:
    near = [name for name in out_sets if _is_near(run.known.reference, name)]
  for name in near:
    _checks.one_of("near set", name, out_sets)
  experiment = experiment or run_dir.resolve().name
  held_out = 0
  if not run.config.data.validation and any(
    (tune_on is not None and name in GRIDS) or DETECTORS[name].fit_on == "held_out"
    for name in names
  ):
    held_out = min(_HELD_OUT, run.known.spec.splits["test"] // 10)
  measured, records = measure_run(
    run,
    out_sets=out_sets,
    experiment=experiment,
    detectors=created,
    tuning=None if tune_on is None else Tuning(tune_on, tune_on_test),
    held_out=held_out,
    data_dir=data_dir,
    report=report,
  )
  timed = measured.sets[TEST].images[:_TIMED_IMAGES]
  records += time_records(run, measured.detectors, timed, experiment=experiment, report=report)
  folder = run_dir / BENCHMARK
  (folder / "records.jsonl").unlink(missing_ok=True)  # Of other scores than are written next.
  write_arrays(folder / "scores.npz", measured.scores)
  scores = {k: v for k, v in measured.scores.items() if not k.endswith(f"|{VALIDATION}")}
  save_figure(detector_figures.roc_curves(scores), folder / "roc.png")
  save_figure(detector_figures.score_histograms(scores), folder / "scores.png")
  write_records(folder / "records.jsonl", records)
  return Benchmark(records, tuple(near), measured.refused)


def time_records(
  run: Run,
  detectors: Mapping[str, Fitted],
  images: np.ndarray,
  *,
  experiment: str,
  rounds: int = 5,
  report: Callable[[str], None] = lambda what: None,
) -> list[Record]:
  """Time detectors on a network; see :func:`isomax_jax.evaluation.timing.relative_times`.

  Args:
    run: The network.
    detectors: Detectors that were fitted to it, by name.
    images: One batch of images as stored, uint8.
    experiment: Name of the protocol in the records.
    rounds: How often each is timed.
    report: Called with what is being done.

  Returns:
    The forward pass's ``seconds_per_image``, and each detector's ``relative_time``.

  Example:
    >>> images = measured.sets["test"].images[:128]  # doctest: +SKIP
    >>> time_records(run, measured.detectors, images, experiment="digits")  # doctest: +SKIP
  """
  seconds, times = relative_times(detectors, run.classifier, images, rounds=rounds, report=report)
  values = [(None, "seconds_per_image", seconds)]
  values += [(name, "relative_time", time) for name, time in times.items()]
  return make_records(
    run,
    [Measurement(name, None, metric, value, len(images), 0) for name, metric, value in values],
    experiment=experiment,
    detectors=detectors,
    seconds=seconds,
  )


def _is_near(known: data.Reference, out_set: str) -> bool:
  name = out_set.partition(":")[0].partition("/")[0]
  return name == known.name or {name, known.name} <= _PHOTOGRAPHS
