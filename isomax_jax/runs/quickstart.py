"""The main job in small: SoftMax and IsoMax side by side on digits, unknowns near and far.

What is known and what is not was fixed beforehand: three splits of the ten digits into eight
known and two unknown ones; 100 training, 50 validation and 350 test images a known digit; the
same seed and recipe for both heads.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from isomax_jax import data
from isomax_jax.reporting import Record
from isomax_jax.runs._evaluate import evaluate
from isomax_jax.runs.seeds import Job, Report, train_job
from isomax_jax.runs.seeds import run_jobs as run_side_by_side
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from isomax_jax.training.interruption import Interruption

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
  """Train and evaluate the jobs, side by side on a CPU.

  Args:
    jobs: What to train.
    workdir: Each run's directory is made in it, under its job's name.
    experiment: Name of the protocol in the records.
    data_dir: Where sets are kept.
    fresh: Whether earlier runs are deleted first.
    report: Told how far each job is.

  Returns:
    The records of all jobs.

  Raises:
    Interrupted: If it was asked to stop; what was trained so far is saved.
  """
  for name in SETS:
    data.prepare(name, data_dir=data_dir)
  run = partial(_run, workdir=workdir, experiment=experiment, data_dir=data_dir, fresh=fresh)
  records = run_side_by_side(run, jobs, report=report)
  return [record for job_records in records for record in job_records]


def _run(
  job: Job,
  *,
  workdir: Path,
  experiment: str,
  data_dir: str | os.PathLike[str] | None,
  fresh: bool,
  report: Report,
  interruption: Interruption,
) -> list[Record]:
  """Train and evaluate one network."""
  run_dir = workdir / job.name
  train_job(job, run_dir, data_dir=data_dir, fresh=fresh, report=report, interruption=interruption)
  return evaluate(run_dir, experiment=experiment, data_dir=data_dir)


def write_samples(
  folder: Path, known_set: str, *, seed: int, data_dir: str | os.PathLike[str] | None
) -> dict[str, list[Path]]:
  """Write images to try a network on: ``known``, ``near`` and ``far`` ones, drawn by the seed.

  Known are test images of the known digits, near unknowns are other digits, far ones letters
  and photographs; a network has been trained on none of them.

  Args:
    folder: The images' folder; they go into a folder of it for each kind.
    known_set: Reference of the known digits.
    seed: Seed of the draw.
    data_dir: Where sets are kept.

  Returns:
    The files of each kind.
  """
  reference = data.parse_reference(known_set)
  others = tuple(sorted(set(range(10)) - set(reference.classes)))
  kinds = {
    "known": [("mnist_5k", "test", reference.classes)],
    "near": [("mnist_5k", "all", others)],
    "far": [("letters", "test", None), ("photos", "test", None)],
  }
  generator = np.random.default_rng(seed)
  files: dict[str, list[Path]] = {}
  for kind, sources in kinds.items():
    (folder / kind).mkdir(parents=True, exist_ok=True)
    files[kind] = []
    for name, split, classes in sources:
      examples = data.load(name, split, classes=classes, data_dir=data_dir)
      names = data.get_spec(name).class_names
      count = SAMPLES // len(sources)
      for number, index in enumerate(generator.choice(len(examples.labels), count, replace=False)):
        label = examples.labels[index] if classes is None else classes[examples.labels[index]]
        path = folder / kind / f"{name}-{number:03d}-{names[label]}.png"
        data.write_image(path, examples.images[index])
        files[kind].append(path)
  return files
