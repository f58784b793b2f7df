"""Training of several networks side by side, on devices or on cores."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax

from isomax_jax import _registry
from isomax_jax.runs._train import train
from isomax_jax.training import TrainConfig
from isomax_jax.training.checkpoints import silence
from isomax_jax.training.interruption import Interrupted, Interruption, listen
from isomax_jax.training.writers import Metrics
from isomax_jax.typing import Device

T = TypeVar("T")


class Job(NamedTuple):
  """A network to train, and the name of its run directory."""

  name: str
  config: TrainConfig


class Message(NamedTuple):
  """Progress of a job: steps so far and in all, and a text."""

  name: str
  step: int
  total_steps: int
  text: str


Report = Callable[[Message], None]


def run_jobs(
  run: Callable[..., T], jobs: Sequence[Job], *, report: Report = lambda message: None
) -> list[T]:
  """Run jobs side by side: on a CPU a process a core, else one on each device.

  A process with one thread for each core beats several threads on one small network, and a
  network a device one that is spread over them. A single job has all devices.

  ``run(job, report=..., interruption=...)`` is picklable; what it returned for each is returned.

  Raises:
    Interrupted: If it was asked to stop; what was trained so far is saved.
  """
  with listen() as interruption:
    if jax.default_backend() == "cpu" and jobs:
      return _run_on_cores(run, jobs, report, interruption)
    devices = jax.local_devices()
    if len(jobs) > 1 and len(devices) > 1:
      return _run_on_devices(run, jobs, devices, report, interruption)
    return [run(job, report=report, interruption=interruption) for job in jobs]


def train_seeds(
  config: TrainConfig,
  seeds: Sequence[int],
  workdir: str | os.PathLike[str],
  *,
  data_dir: str | os.PathLike[str] | None = None,
  fresh: bool = False,
  report: Report = lambda message: None,
) -> list[Path]:
  """Train a config with several seeds, side by side; each is what it is when trained alone.

  Args:
    config: What to train, but for the seed.
    seeds: The seeds.
    workdir: Each run's directory is made in it: ``seed0`` and so on.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.
    fresh: Whether earlier runs in the directories are deleted first.
    report: Called with the progress of each.

  Returns:
    The run directories.

  Raises:
    ValueError: If a seed is there twice.
    Interrupted: If it was asked to stop; what was trained so far is saved.

  Example:
    >>> train_seeds(TrainConfig(), [0, 1], Path("runs/digits"))  # doctest: +SKIP
    [PosixPath('runs/digits/seed0'), PosixPath('runs/digits/seed1')]
  """
  if len(set(seeds)) < len(seeds):
    raise ValueError(f"seeds must differ, got {', '.join(map(str, seeds))}")
  jobs = [Job(f"seed{seed}", dataclasses.replace(config, seed=seed)) for seed in seeds]
  run = partial(train_job, workdir=Path(workdir), data_dir=data_dir, fresh=fresh)
  return run_jobs(run, jobs, report=report)


def train_job(job: Job, *, workdir: Path, report: Report, **options: Any) -> Path:
  """Train a job's network in a directory of its name, with options of :func:`train`; return it."""
  train(
    job.config,
    workdir / job.name,
    progress=lambda total_steps: MessageWriter(job.name, total_steps, report),
    **options,
  )
  return workdir / job.name


class MessageWriter:
  """A writer that reports the log of training as messages."""

  def __init__(self, name: str, total_steps: int, report: Report):
    self._name, self._total_steps, self._report = name, total_steps, report

  def __enter__(self):
    self._report(Message(self._name, 0, self._total_steps, "compiling"))
    return self

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Report the training's metrics."""
    if metrics["split"] == "train":
      text = (
        f"{metrics['images_per_second']:,.0f} images/s loss {metrics['loss']:.3f} "
        f"accuracy {metrics['accuracy']:.1%}"
      )
      self._report(Message(self._name, step, self._total_steps, text))

  def __exit__(self, *exception):
    pass


def _run_on_devices(
  run: Callable[..., T],
  jobs: Sequence[Job],
  devices: Sequence[Device],
  report: Report,
  interruption: Interruption,
) -> list[T]:
  """Run each job in a thread, which has little to do but to keep its device busy."""
  free: queue.SimpleQueue[Device] = queue.SimpleQueue()
  for device in devices:
    free.put(device)

  def work(job: Job) -> T:
    if interruption:
      raise Interrupted("stopped; run it again to go on", interruption.signal)
    device = free.get()
    try:
      with jax.default_device(device):
        return run(job, report=report, interruption=interruption)
    finally:
      free.put(device)

  with concurrent.futures.ThreadPoolExecutor(min(len(devices), len(jobs))) as pool:
    return list(pool.map(work, jobs))


def _run_on_cores(
  run: Callable[..., T], jobs: Sequence[Job], report: Report, interruption: Interruption
) -> list[T]:
  # Fork would copy JAX's threads half-way.
  context = multiprocessing.get_context("spawn")
  messages, free_cores, stop = context.Queue(), context.Queue(), context.Event()
  cores = _cores()
  for core in cores:
    free_cores.put(core)
  arguments = free_cores, messages, stop, _registry.added()
  with concurrent.futures.ProcessPoolExecutor(
    min(len(cores), len(jobs)), context, _start_worker, arguments
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
  """The parent's request to stop; it alone listens to signals."""

  def __init__(self, event: Any):
    super().__init__()
    self._event = event

  def __bool__(self) -> bool:
    if self._event.is_set():
      self.signal = signal.SIGINT
    return self.signal is not None


_worker: dict[str, Any] = {}
_busy = threading.Lock()


def _start_worker(free_cores: Any, messages: Any, stop: Any, added: Any) -> None:
  """Pin a worker to a core before XLA counts them, and leave signals to the parent."""
  _registry.add_all(added)
  silence()
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  core = free_cores.get()
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {core})
  _worker.update(report=messages.put, interruption=_Stop(stop))
  parent = multiprocessing.parent_process()
  threading.Thread(target=_end_with_parent, args=(parent, stop), daemon=True).start()


def _end_with_parent(parent: Any, stop: Any) -> None:
  """Save what is being trained and end when the parent has been killed."""
  parent.join()
  stop.set()
  with _busy:
    os._exit(1)


def _work(run: Callable[..., T], job: Job) -> T:
  with _busy:
    return run(job, **_worker)
