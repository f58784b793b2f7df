"""``isomax-jax compile``."""

from pathlib import Path
from typing import Annotated

import tyro

from isomax_jax.training import TrainConfig


def compile(
  config: Annotated[TrainConfig, tyro.conf.arg(name="")],
  *,
  target: Annotated[str, tyro.conf.arg(metavar="TPU")],
  data_dir: Path | None = None,
) -> int:
  """Compile what training would run, for a TPU that need not be there: does it compile and fit?

  Example: isomax-jax compile --target v5e:2x2 --data cifar10 --model resnet34

  Needs a machine with Linux on x86-64, and some minutes for a deep network.

  Args:
    config: What would be trained.
    target: Generation and topology: v4:2x2x1, v5e:2x2, v5e:4x4 or v6e:2x2, for example.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  from isomax_jax.cli._tables import console, programs_table, show
  from isomax_jax.runs.compile import compile_programs, tpu_devices

  devices = tpu_devices(target)
  terminal = console()
  with terminal.status("compiling"):
    programs = list(compile_programs(config, target, data_dir=data_dir))
  title = f"{config.model.name} {config.model.head} on {len(devices)} × {devices[0].device_kind}"
  show(terminal, programs_table(programs, title=title))
  print(f"compiles and fits: {target}")
  return 0
