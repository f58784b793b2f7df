"""``isomax-jax data``."""

from pathlib import Path
from typing import Literal

import tyro

from isomax_jax.data import SPECS, DataSpec, folders, is_prepared


def data(action: tyro.conf.Positional[Literal["list"]], *, data_dir: Path | None = None) -> int:
  """List the data sets: role, images, whether they are prepared, and how to get them.

  Example: isomax-jax data list

  Args:
    action: What to do: list.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  from rich.table import Table

  from isomax_jax.cli._tables import console

  table = Table("set", "role", "images", "shape", "prepared", "how to get it")
  for spec in (*SPECS.values(), *folders.find_prepared(data_dir=data_dir)):
    prepared = "yes" if is_prepared(spec, data_dir=data_dir) else "no"
    splits = ", ".join(f"{split} {count:,}" for split, count in spec.splits.items())
    shape = "x".join(map(str, spec.example_shape))
    table.add_row(spec.name, spec.role, splits, shape, prepared, _origin(spec))
  table.add_row(folders.PATTERN, "in, out", "any", "any", "", "your own: SPLIT/CLASS/IMAGE")
  console().print(table)
  return 0


def _origin(spec: DataSpec) -> str:
  if spec.name.startswith(f"{folders.FAMILY}/"):
    return folders.how_to_prepare(spec.name)
  if not spec.archives:
    return "nothing to fetch: prepared when it is needed"
  size = sum(archive.size for archive in spec.archives)
  megabytes = f" ({size / 1e6:,.0f} MB)" if size else ""
  return f"isomax-jax prepare {spec.name}{megabytes}"
