"""Compare detectors on one trained network: numbers, costs and figures."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isomax_jax import _checks, data
from isomax_jax._files import write_arrays
from isomax_jax.detectors import DETECTORS, create_detector
from isomax_jax.evaluation import Record, append_records, detector_plots
from isomax_jax.evaluation.benchmark import Fitted, Measurement, relative_times
from isomax_jax.evaluation.plots import save_figure
from isomax_jax.evaluation.runs import TEST, VALIDATION
from isomax_jax.evaluation.tuning import GRIDS
from isomax_jax.jobs.measure import make_records, measure
from isomax_jax.jobs.trained import Trained, load_trained
from isomax_jax.jobs.unknown import default_out_sets

FOLDER = "benchmark"
"""Where in a run directory a comparison is."""
_HELD_OUT = 1000
_TIMED_IMAGES = 128
# Sets of small photographs of objects: to one of them, another is near.
_PHOTOGRAPHS = ("cifar10", "cifar100", "tiny_imagenet_resize", "odin_imagenet_resize")


class Benchmark(NamedTuple):
  """A comparison.

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
  detectors: Sequence[str] = tuple(DETECTORS),
  tune_on: str | None = "adversarial",
  tune_on_test: bool = False,
  experiment: str | None = None,
  data_dir: str | os.PathLike[str] | None = None,
  report: Callable[[str], None] = lambda what: None,
) -> Benchmark:
  """Measure detectors on the network of a run and write what comes out into it.

  The folder ``benchmark`` of the run directory gets ``records.jsonl``, ``scores.npz``, ``roc.png``
  and ``scores.png``, in place of what an earlier comparison wrote. Where options are tuned and
  the run kept no validation images, a thousand of the test images, or a tenth where there are
  fewer than ten thousand, are taken for it and left out of every number.

  Args:
    run_dir: The run directory.
    out_sets: References of unknown sets; None takes
      :func:`isomax_jax.jobs.unknown.default_out_sets`.
    near: Those of them that are near to the known set; None takes other classes of the known set,
      and small photographs of objects where the known set holds such.
    detectors: Names of detectors.
    tune_on: What options are chosen on; see :func:`isomax_jax.jobs.measure.measure`.
    tune_on_test: Whether that may be one of the unknown sets.
    experiment: Name of the protocol in the records; None takes the directory's name.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    report: Told what is being done.

  Returns:
    Records, near sets and what could not be run.

  Raises:
    ValueError: If the directory is not a trained run, an out-set does not fit it, a detector is
      unknown, or there is nothing to tune on.
  """
  run_dir = Path(run_dir)
  for name in detectors:
    _checks.one_of("detector", name, DETECTORS)
  trained = load_trained(run_dir)
  if out_sets is None:
    out_sets = default_out_sets(
      trained.setup.reference, outliers=trained.config.objective.outliers, data_dir=data_dir
    )
  if near is None:
    near = [name for name in out_sets if _is_near(trained.setup.reference, name)]
  for name in near:
    _checks.one_of("near set", name, out_sets)
  experiment = experiment or run_dir.resolve().name
  tunes = tune_on is not None and any(name in GRIDS for name in detectors)
  measured = measure(
    trained,
    out_sets=out_sets,
    experiment=experiment,
    detectors={name: create_detector(name) for name in detectors},
    tune_on=tune_on,
    tune_on_test=tune_on_test,
    held_out=_held_out(trained) if tunes and not trained.config.data.validation else 0,
    data_dir=data_dir,
    report=report,
  )
  records = [
    *measured.records,
    *time_records(
      trained,
      measured.detectors,
      measured.sets[TEST].images[:_TIMED_IMAGES],
      experiment=experiment,
      report=report,
    ),
  ]
  folder = run_dir / FOLDER
  write_arrays(folder / "scores.npz", measured.scores)
  scores = {
    key: values for key, values in measured.scores.items() if key.partition("|")[2] != VALIDATION
  }
  save_figure(detector_plots.roc_curves(scores), folder / "roc.png")
  save_figure(detector_plots.score_histograms(scores), folder / "scores.png")
  (folder / "records.jsonl").unlink(missing_ok=True)
  append_records(folder / "records.jsonl", records)
  return Benchmark(records, tuple(near), measured.refused)


def time_records(
  trained: Trained,
  detectors: Mapping[str, Fitted],
  images: np.ndarray,
  *,
  experiment: str,
  rounds: int = 5,
  report: Callable[[str], None] = lambda what: None,
) -> list[Record]:
  """Time detectors on a network; see :func:`isomax_jax.evaluation.benchmark.relative_times`.

  Args:
    trained: The network.
    detectors: Detectors that were fitted to it, by name.
    images: One batch of images as stored, uint8.
    experiment: Name of the protocol in the records.
    rounds: How often each has a turn.
    report: Told what is being done.

  Returns:
    The forward pass's ``seconds_per_image``, and each detector's ``relative_time``.
  """
  seconds, times = relative_times(
    detectors, trained.classifier, images, rounds=rounds, report=report
  )
  measurements = [
    Measurement(None, None, "seconds_per_image", seconds, len(images), 0),
    *(
      Measurement(name, None, "relative_time", time, len(images), 0) for name, time in times.items()
    ),
  ]
  return make_records(
    trained, measurements, experiment=experiment, detectors=detectors, seconds=seconds
  )


def _is_near(known: data.Reference, out_set: str) -> bool:
  name = out_set.partition(":")[0].partition("/")[0]
  return name == known.name or {name, known.name} <= set(_PHOTOGRAPHS)


def _held_out(trained: Trained) -> int:
  return min(_HELD_OUT, trained.setup.spec.splits["test"] // 10)
