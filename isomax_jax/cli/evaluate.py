"""``isomax-jax evaluate``."""

from pathlib import Path
from typing import Annotated

import tyro


def evaluate(
  run_dir: tyro.conf.Positional[Path],
  *,
  out: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="SET...")] = None,
  data_dir: Path | None = None,
) -> int:
  """Measure accuracy, and how well each detector tells unknown sets from the known one.

  Example: isomax-jax evaluate runs/digits --out mnist_5k:8,9 letters

  Args:
    run_dir: A trained run.
    out: Unknown sets, maybe with classes: letters or mnist_5k:8,9. None: all that fit.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  from isomax_jax import runs
  from isomax_jax.cli._tables import console, results_table, show

  records = runs.evaluate(run_dir, out_sets=out, data_dir=data_dir)
  show(console(), results_table(records, title=str(run_dir)))
  print(f"records: {run_dir / 'records.jsonl'}; next: isomax-jax report {run_dir}")
  return 0
