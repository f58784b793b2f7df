"""``isomax-jax train``."""

import contextlib
from pathlib import Path
from typing import Annotated

import tyro

from isomax_jax.training import TrainConfig


def train(
  config: Annotated[TrainConfig, tyro.conf.arg(name="")],
  workdir: Path,
  *,
  data_dir: Path | None = None,
  fresh: tyro.conf.FlagCreatePairsOff[bool] = False,
  compile_cache: Path | None = None,
  seeds: tuple[int, ...] = (),
  distributed: tyro.conf.FlagCreatePairsOff[bool] = False,
  coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  heartbeat_seconds: int = 100,
) -> int:
  """Train a network into a run directory, or go on with the run that is in it.

  Example: isomax-jax train --data mnist_5k:0-7 --head isomax --epochs 200 --workdir runs/digits

  Afterwards: isomax-jax evaluate runs/digits; isomax-jax predict runs/digits IMAGE...

  Args:
    config: What to train.
    workdir: The run directory. Stopped runs go on from their last checkpoint.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    fresh: Delete what the run directory holds of an earlier run first.
    compile_cache: Where compiled programs are kept, so that the next start need not compile them.
      None: $JAX_COMPILATION_CACHE_DIR, else ~/.cache/isomax_jax, as all commands.
    seeds: Train with each of these seeds instead of the one, side by side on several devices or
      cores, each in a directory of its own in the run directory.
    distributed: Train one network with other processes, each started with the same command; where
      they are is asked from the cluster (Cloud TPU, SLURM, GKE). They share the run directory.
    coordinator: For another cluster: the address of process 0.
    num_processes: For another cluster: how many processes there are.
    process_id: For another cluster: which of them this is.
    heartbeat_seconds: Seconds without a sign of life after which a process counts as dead.
  """
  import jax

  from isomax_jax import runs
  from isomax_jax.cli.progress import ProgressLines
  from isomax_jax.runs.environment import keep_compiled_programs
  from isomax_jax.runs.seeds import MessageWriter
  from isomax_jax.training.processes import connected

  if compile_cache is not None:
    keep_compiled_programs(compile_cache)
  title = f"{config.model.name} {config.model.head}"
  others = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
  given = ", ".join(name for name, value in others.items() if value is not None)
  if given and not distributed:
    raise ValueError(f"distributed must be set for {given}")
  if seeds:
    if distributed:
      raise ValueError("seeds are trained by one process each, not by distributed ones")
    with ProgressLines() as lines:
      run_dirs = runs.train_seeds(
        config, seeds, workdir, data_dir=data_dir, fresh=fresh, report=lines.show
      )
    print("\n".join(f"trained: {run_dir}" for run_dir in run_dirs))
    return 0
  with contextlib.ExitStack() as stack:
    lines = stack.enter_context(ProgressLines())
    if distributed:
      stack.enter_context(connected(**others, heartbeat_seconds=heartbeat_seconds))
    runs.train(
      config,
      workdir,
      data_dir=data_dir,
      fresh=fresh,
      progress=lambda total_steps: MessageWriter(title, total_steps, lines.show),
    )
  if jax.process_index() == 0:
    print(f"trained: {workdir}; next: isomax-jax evaluate {workdir}")
  return 0
