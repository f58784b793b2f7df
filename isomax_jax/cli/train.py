"""``isomax-jax train``."""

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
) -> int:
  """Train a network into a run directory, or go on with the run that is in it.

  Example: isomax-jax train --data mnist_5k:0-7 --head isomax --epochs 200 --workdir runs/digits

  Afterwards: isomax-jax evaluate runs/digits; isomax-jax predict runs/digits IMAGE...

  Args:
    config: What to train.
    workdir: The run directory. Stopped runs go on from their last checkpoint.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    fresh: Delete what the run directory holds of an earlier run first.
  """
  from isomax_jax.jobs.train import train as train_job
  from isomax_jax.training.writers import ProgressLine

  title = f"{config.model.name} {config.model.head}"
  train_job(
    config,
    workdir,
    data_dir=data_dir,
    fresh=fresh,
    progress=lambda total_steps: ProgressLine(title, total_steps=total_steps),
  )
  print(f"trained: {workdir}; next: isomax-jax evaluate {workdir}")
  return 0
