"""Folders of prepared sets."""

import os
from pathlib import Path


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
  """Return the folder of all sets: ``data_dir``, ``$TFDS_DATA_DIR`` or the default of TFDS."""
  return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def set_folder(root: Path, name: str, version: str) -> Path:
  """Return the folder of a prepared set, ``ROOT/NAME/VERSION``."""
  return root.joinpath(*name.split("/"), version)
