"""Time a forward pass with each detector's score over the forward pass alone, in one run.

    python -m experiments.benchmarks.detectors

The small study's network, with a softmax and an IsoMax head, is trained for a moment on the
embedded digits, so that every detector can be fitted. Options are the defaults; perturbed
Mahalanobis is there with the last stage alone and with all of them. Each detector has a turn in
each round, and the least over rounds counts.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.benchmarks import _timing
from isomax_jax import data
from isomax_jax.detectors import DETECTORS, Detector, create_detector, mahalanobis
from isomax_jax.evaluation.batches import FitBatches
from isomax_jax.evaluation.measure import fit_detectors, pass_through
from isomax_jax.reporting import Record, append_records
from isomax_jax.runs import Run, load, time_records, train
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, TrainConfig

BATCH, ROUNDS = 128, 30
HEADS = ("softmax", "isomax")
EPSILON = 0.0014
PERTURBED, PERTURBED_ALL = "mahalanobis_perturbed", "mahalanobis_perturbed_all_stages"
OPTIONS = {PERTURBED: {"epsilon": EPSILON}, PERTURBED_ALL: {"epsilon": EPSILON, "weights": "all"}}
# What the paper says, in words, of its competitors: three times slower. A score is to be free.
TARGETS = {"entropic_score": 1.01, "odin": 4.0, PERTURBED: 4.0}


def main(arguments: Sequence[str] | None = None) -> None:
  """Print a table for each head, with the targets."""
  parser = argparse.ArgumentParser(
    prog="python -m experiments.benchmarks.detectors",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--output", type=Path, help="a file that the records are appended to")
  output = parser.parse_args(arguments).output
  print(_timing.machine("jax", "jaxlib", "flax"))
  for head in HEADS:
    with tempfile.TemporaryDirectory() as run_dir:
      run = train_for_a_moment(head, run_dir)
    records = list(time_detectors(run))
    seconds, *times = records
    print(f"\nresnet_small+{head}, batch {BATCH}, {1e3 * seconds.value:.3f} ms an image forward")
    for record in sorted(times, key=lambda record: record.value):
      print(f"{record.detector:34} {record.value:6.3f}")
    for record in times:
      if record.detector in TARGETS:
        at_most = TARGETS[record.detector]
        print(_timing.verdict(record.detector, record.value, at_most=at_most))
    if output is not None:
      append_records(output, records)


def train_for_a_moment(head: str, run_dir: str) -> Run:
  """Train until every class has an example that is classified rightly."""
  config = TrainConfig(
    data=DataConfig(name="mnist_5k", validation=0),
    model=ModelConfig(name="resnet_small", head=head),
    optim=OptimConfig(epochs=3),
  )
  train(config, run_dir)
  return load(run_dir)


def time_detectors(run: Run) -> list[Record]:
  """Fit and time every detector that the network can have."""
  batches = FitBatches(run.classifier, data.load("mnist_5k", "train"))
  fitted, refused = fit_detectors(_detectors(run), run.classifier, batches)
  for name, error in refused.items():
    print(f"not timed: {name}: {error}")
  images = data.load("mnist_5k", "test").images[:BATCH]
  fitted = {name: each._replace(options=OPTIONS.get(name, {})) for name, each in fitted.items()}
  return time_records(run, fitted, images, experiment="detector_times", rounds=ROUNDS)


def _detectors(run: Run) -> Mapping[str, Detector]:
  one = data.load("mnist_5k", "test").read(slice(0, 1))
  stages = len(pass_through(run.classifier, one).outputs.stages)
  return {
    **{name: create_detector(name) for name in DETECTORS},
    PERTURBED: mahalanobis(epsilon=EPSILON),
    PERTURBED_ALL: mahalanobis(epsilon=EPSILON, weights=(1.0,) * stages),
  }


if __name__ == "__main__":
  main()
