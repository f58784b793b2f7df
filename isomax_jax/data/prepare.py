"""Prepare a data set once: from where it comes to a folder that TFDS reads."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from isomax_jax.data._packages import package_folder
from isomax_jax.data.specs import DataSpec, get_spec


def prepare(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> Path:
  """Prepare a data set unless it is there already.

  The set is built in a folder of its own beside its place and moved there whole, so an
  interrupted preparation leaves nothing that looks complete, and of several processes that
  prepare the same set at once the first gives its result to all.

  Args:
    name: Name of the set, with its configuration where it has one.
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

  Returns:
    The folder of the prepared set, ``DATA_DIR/NAME/VERSION``.

  Raises:
    ModuleNotFoundError: If TFDS or the package that the set comes from is missing; the message
      says how to install it.
    ValueError: If the set is unknown, its source gives another number of examples, or what lies
      at its place is not a set that can be read.

  Example:
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   folder = prepare("photos", data_dir=data_dir)
    ...   str(folder.relative_to(data_dir))
    'photos/1.0.0'
  """
  spec = get_spec(name)
  package_folder("tensorflow_datasets", extra="train")
  from isomax_jax.data.builders import builder_class

  builder = builder_class(name)
  root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
  folder = root.joinpath(*name.split("/"), str(builder.VERSION))
  if not folder.exists():
    _build(builder, spec, root=root, folder=folder)
  _check_readable(folder)
  return folder


def _build(builder_class: type, spec: DataSpec, *, root: Path, folder: Path) -> None:
  """Build the set under ``root`` in a folder that nothing reads, then move it to its place."""
  root.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix="incomplete.", dir=root) as staging:
    builder = builder_class(data_dir=staging)
    with _quiet():
      builder.download_and_prepare(file_format="array_record")
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    if counts != spec.splits:
      raise ValueError(f"{spec.name} must have the splits {dict(spec.splits)}, got {counts}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
      os.rename(builder.data_dir, folder)
    except OSError:
      # Another process was faster; what it made is as good.
      if not folder.exists():
        raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keep TFDS's progress bars and announcements from the terminal."""
  from tensorflow_datasets.core.utils import tqdm_utils

  active = getattr(tqdm_utils, "_active", True)
  tqdm_utils.display_progress_bar(enable=False)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tqdm_utils.display_progress_bar(enable=active)


def _check_readable(folder: Path) -> None:
  """Raise ValueError unless the folder says that it is a prepared set that can be read."""
  try:
    file_format = json.loads((folder / "dataset_info.json").read_text()).get("fileFormat")
  except (OSError, ValueError) as error:
    raise ValueError(f"{folder} is not a whole prepared data set; delete it and retry") from error
  if file_format != "array_record":
    raise ValueError(
      f"{folder} is prepared as {file_format}, which needs TensorFlow; array_record is expected: "
      "delete it or choose another data_dir"
    )
