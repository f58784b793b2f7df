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
  from isomax_jax.cli._tables import console, show
  from isomax_jax.reporting.tables import Column, Table

  rows = []
  for spec in (*SPECS.values(), *folders.find_prepared(data_dir=data_dir)):
    prepared = "yes" if is_prepared(spec, data_dir=data_dir) else "no"
    splits = ", ".join(f"{split} {count:,}" for split, count in spec.splits.items())
    shape = "x".join(map(str, spec.example_shape))
    rows.append([spec.name, spec.role, splits, shape, prepared, _origin(spec)])
  rows.append([folders.PATTERN, "in, out", "any", "any", "", "your own: SPLIT/CLASS/IMAGE"])
  names = "set", "role", "images", "shape", "prepared", "how to get it"
  show(console(), Table(columns=[Column(name, is_text=True) for name in names], rows=rows))
  return 0


def _origin(spec: DataSpec) -> str:
  if spec.name.startswith(f"{folders.FAMILY}/"):
    return folders.how_to_prepare(spec.name)
  if not spec.archives:
    return "nothing to fetch: prepared when it is needed"
  size = sum(archive.size for archive in spec.archives)
  megabytes = f" ({size / 1e6:,.0f} MB)" if size else ""
  return f"isomax-jax prepare {spec.name}{megabytes}"
