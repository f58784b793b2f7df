"""``isomax-jax benchmark``."""

from pathlib import Path
from typing import Annotated

import tyro

from isomax_jax.detectors import Unsupported


def benchmark(
  run_dir: tyro.conf.Positional[Path],
  *,
  out: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="SET...")] = None,
  near: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="SET...")] = None,
  detectors: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")] = ("all",),
  tune_on: Annotated[str | None, tyro.conf.arg(metavar="SET")] = "adversarial",
  tune_on_test: tyro.conf.FlagCreatePairsOff[bool] = False,
  data_dir: Path | None = None,
) -> int:
  """Compare detectors on a trained network: how well they tell unknown sets, and at what cost.

  Example: isomax-jax benchmark runs/digits --out mnist_5k:8,9 letters --detectors all

  Args:
    run_dir: A trained run.
    out: Unknown sets, maybe with classes: letters or mnist_5k:8,9. None: all that fit.
    near: Those of them that are near to the known set. None: other classes of it, and for CIFAR
      other small photographs of objects.
    detectors: Detectors, or all of them.
    tune_on: What the options of ODIN and Mahalanobis are chosen on: adversarial (examples of known
      images), or a set. None: their defaults.
    tune_on_test: Allow that this set is among --out. Its numbers are marked.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  from isomax_jax import runs
  from isomax_jax.cli._tables import benchmark_tables, console, show

  terminal = console()
  with terminal.status("") as status:
    result = runs.benchmark(
      run_dir,
      out_sets=out,
      near=near,
      detectors=None if detectors == ("all",) else detectors,
      tune_on=tune_on,
      tune_on_test=tune_on_test,
      data_dir=data_dir,
      report=status.update,
    )
  tables = benchmark_tables(
    result.records, near=result.near, refused=tuple(result.refused), title=str(run_dir)
  )
  for table in tables:
    show(terminal, table)
  for name, error in result.refused.items():
    print(f"not run: {error if name in str(error) else f'{name}: {error}'}")
  print(f"records, scores and figures: {run_dir / runs.BENCHMARK}")
  return int(not all(isinstance(error, Unsupported) for error in result.refused.values()))
