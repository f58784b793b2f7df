"""The quickstart: SoftMax and IsoMax trained side by side on digits, with near and far unknowns.

The protocol was fixed beforehand: three splits of the ten digits into eight known and two unknown
ones; 100 training, 50 validation and 350 test images a known digit; the same seed and recipe for
both heads.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from isomax_jax import data
from isomax_jax.reporting import Record
from isomax_jax.runs._evaluate import evaluate
from isomax_jax.runs.seeds import Job, Report, train_job
from isomax_jax.runs.seeds import run_jobs as run_side_by_side
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

KNOWN_DIGITS = ("0-7", "2-9", "0-3,6-9")
HEADS = ("softmax", "isomax")
SETS = ("mnist_5k", "letters", "photos")
SAMPLES = 100


def make_jobs(*, seeds: Sequence[int], quick: bool) -> list[Job]:
  """List the networks: every split, head and seed; ``quick`` takes one split and few epochs."""
  epochs = 10 if quick else 200
  return [
    Job(
      name=f"{head}-{digits.replace(',', '_')}-seed{seed}",
      config=TrainConfig(
        data=DataConfig(name=f"mnist_5k:{digits}", validation=1 / 3),
        model=ModelConfig(name="small_cnn", head=head),
        optim=OptimConfig(epochs=epochs, milestones=(0.5, 0.75)),
        run=RunConfig(checkpoint_epochs=max(1, epochs // 4)),
        seed=seed,
      ),
    )
    for seed in seeds
    for digits in (KNOWN_DIGITS[:1] if quick else KNOWN_DIGITS)
    for head in HEADS
  ]


def run_jobs(
  jobs: Sequence[Job],
  workdir: Path,
  *,
  experiment: str,
  data_dir: str | os.PathLike[str] | None,
  fresh: bool,
  report: Report,
) -> list[Record]:
  """Train and evaluate jobs as :func:`isomax_jax.runs.seeds.run_jobs` does, and return all records.

  Each run's directory is made in ``workdir``; ``fresh`` deletes earlier ones first.
  """
  for name in SETS:
    data.prepare(name, data_dir=data_dir)
  run = partial(_run, workdir=workdir, experiment=experiment, data_dir=data_dir, fresh=fresh)
  records = run_side_by_side(run, jobs, report=report)
  return [record for of_job in records for record in of_job]


def _run(
  job: Job, *, experiment: str, data_dir: str | os.PathLike[str] | None, **options: Any
) -> list[Record]:
  run_dir = train_job(job, data_dir=data_dir, **options)
  return evaluate(run_dir, experiment=experiment, data_dir=data_dir)


def write_samples(
  folder: Path, known_set: str, *, seed: int, data_dir: str | os.PathLike[str] | None
) -> None:
  """Write images to try a network on, drawn by a seed, into a folder of each kind.

  ``known`` are test images of the known digits, ``near`` other digits, ``far`` letters and
  photographs; the network was trained on none of them. It is a ValueError if no digit is unknown.
  """
  known = data.parse_reference(known_set).classes
  if known is None:
    raise ValueError(f"known_set must leave digits out, as mnist_5k:0-7 does, got {known_set!r}")
  others = tuple(sorted(set(range(10)) - set(known)))
  kinds = {
    "known": [("mnist_5k", "test", known)],
    "near": [("mnist_5k", "all", others)],
    "far": [("letters", "test", None), ("photos", "test", None)],
  }
  generator = np.random.default_rng(seed)
  for kind, sources in kinds.items():
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, split, classes in sources:
      images, labels = data.load(name, split, classes=classes, data_dir=data_dir)
      names = data.get_spec(name).class_names
      chosen = generator.choice(len(labels), SAMPLES // len(sources), replace=False)
      for number, index in enumerate(chosen):
        label = labels[index] if classes is None else classes[labels[index]]
        path = folder / kind / f"{name}-{number:03d}-{names[label]}.png"
        data.write_image(path, images[index])
