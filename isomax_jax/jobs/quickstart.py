"""The main job in small: SoftMax and IsoMax side by side on digits, unknowns near and far.

What is known and what is not was fixed beforehand: three splits of the ten digits into eight
known and two unknown ones; 100 training, 50 validation and 350 test images a known digit; the
same seed and recipe for both heads.
"""

import concurrent.futures
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax import data
from isomax_jax.evaluation import Record
from isomax_jax.jobs.evaluate import evaluate
from isomax_jax.jobs.train import train
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from isomax_jax.training.interruption import Interrupted, Interruption, listen

KNOWN_DIGITS = ("0-7", "2-9", "0-3,6-9")
HEADS = ("softmax", "isomax")
SETS = ("mnist_5k", "letters", "photos")
SAMPLES = 100


class Job(NamedTuple):
  """A network of the quickstart, and the name of its run directory."""

  name: str
  config: TrainConfig


class Message(NamedTuple):
  """How far a job is: steps so far and in all, and what it is doing."""

  name: str
  step: int
  total_steps: int
  text: str


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
  report: Callable[[Message], None],
) -> list[Record]:
  """Train and evaluate the jobs: on a CPU side by side, a process a core, else in turn.

  A process with one thread for each core beats several threads on one small network.

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
  with listen() as interruption:
    if jax.default_backend() == "cpu":
      records = _run_side_by_side(run, jobs, report, interruption)
    else:
      records = [run(job, report=report, interruption=interruption) for job in jobs]
  return [record for job_records in records for record in job_records]


def _run(
  job: Job,
  *,
  workdir: Path,
  experiment: str,
  data_dir: str | os.PathLike[str] | None,
  fresh: bool,
  report: Callable[[Message], None],
  interruption: Interruption,
) -> list[Record]:
  """Train and evaluate one network."""
  run_dir = workdir / job.name

  def progress(total_steps: int) -> _Progress:
    return _Progress(job.name, total_steps, report)

  train(
    job.config,
    run_dir,
    data_dir=data_dir,
    fresh=fresh,
    progress=progress,
    interruption=interruption,
  )
  return evaluate(run_dir, experiment=experiment, data_dir=data_dir)


class _Progress:
  """A writer that passes messages on."""

  def __init__(self, name: str, total_steps: int, report: Callable[[Message], None]):
    self._name, self._total_steps, self._report = name, total_steps, report

  def __enter__(self):
    return self

  def __call__(self, step, metrics):
    if metrics["split"] == "train":
      text = f"loss {metrics['loss']:.3f}  accuracy {metrics['accuracy']:6.1%}"
      self._report(Message(self._name, step, self._total_steps, text))

  def __exit__(self, *exception):
    pass


def _run_side_by_side(
  run: Callable[..., list[Record]],
  jobs: Sequence[Job],
  report: Callable[[Message], None],
  interruption: Interruption,
) -> list[list[Record]]:
  # Fork would copy JAX's threads half-way.
  context = multiprocessing.get_context("spawn")
  messages, free_cores, stop = context.Queue(), context.Queue(), context.Event()
  cores = _cores()
  for core in cores:
    free_cores.put(core)
  with concurrent.futures.ProcessPoolExecutor(
    min(len(cores), len(jobs)), context, _start_worker, (free_cores, messages, stop)
  ) as pool:
    futures = [pool.submit(_work, run, job) for job in jobs]
    while not all(future.done() for future in futures):
      if interruption:
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise Interrupted("stopped; run it again to go on", interruption.signal)
      try:
        report(messages.get(timeout=0.2))
      except queue.Empty:
        continue
    while not messages.empty():
      report(messages.get())
    return [future.result() for future in futures]


def _cores() -> list[int]:
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


class _Stop(Interruption):
  """The parent's wish to stop; it alone listens to signals."""

  def __init__(self, event: Any):
    super().__init__()
    self._event = event

  def __bool__(self) -> bool:
    if self._event.is_set():
      self.signal = signal.SIGINT
    return self.signal is not None


_worker: dict[str, Any] = {}


def _start_worker(free_cores: Any, messages: Any, stop: Any) -> None:
  """Settle on a core before XLA counts them, and leave signals to the parent."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  core = free_cores.get()
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
  _worker.update(report=messages.put, interruption=_Stop(stop))


def _work(run: Callable[..., list[Record]], job: Job) -> list[Record]:
  return run(job, **_worker)


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
