"""Where sets are kept."""

import os
from pathlib import Path

SPEC_FILE = "spec.json"


def data_root(data_dir: str | os.PathLike[str] | None) -> Path:
  """Return the folder of all sets: ``data_dir``, ``$TFDS_DATA_DIR`` or the default of TFDS.

  Example:
    >>> data_root("sets").name
    'sets'
  """
  return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def set_folder(root: Path, name: str, version: str) -> Path:
  """Return the place of a prepared set, ``ROOT/NAME/VERSION``.

  Example:
    >>> set_folder(Path("sets"), "tiny_imagenet_resize/nearest", "1.0.0").as_posix()
    'sets/tiny_imagenet_resize/nearest/1.0.0'
  """
  return root.joinpath(*name.split("/"), version)
