"""Preparation of data sets: from their sources to a folder of records, once."""

import contextlib
import errno
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from isomax_jax._files import read_json
from isomax_jax.data import folders
from isomax_jax.data._decoded import LARGEST_RESIDENT, write_decoded
from isomax_jax.data._packages import package_folder
from isomax_jax.data._places import data_root, set_folder
from isomax_jax.data.archives import download_archives, find_archives
from isomax_jax.data.description import DataSpec, spec_to_json
from isomax_jax.data.examples import open_stored
from isomax_jax.data.progress import Progress, Report, silent
from isomax_jax.data.specs import get_spec

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare(
  name: str,
  *,
  data_dir: str | os.PathLike[str] | None = None,
  manual_dir: str | os.PathLike[str] | None = None,
  report: Report = silent,
) -> Path:
  """Prepare a data set unless it is there already.

  The set is built in a temporary folder, read back whole and moved to its place, so an
  interrupted preparation leaves nothing that looks complete, and of several processes that
  prepare the same set at once the first gives its result to all.

  Args:
    name: Name of the set, with its configuration where it has one.
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.
    manual_dir: Folder of the files that the set is made from. Without it they are downloaded to
      ``DATA_DIR/downloads`` and verified by checksum.
    report: Called with the progress.

  Returns:
    The folder of the prepared set, ``DATA_DIR/NAME/VERSION``.

  Raises:
    ModuleNotFoundError: If TFDS or the package that the set comes from is missing; the message
      says how to install it.
    OSError: If a file is missing, cannot be downloaded, or the disk is full.
    ValueError: If the set is unknown or not of images, what it is made from is damaged or
      something else, or its folder is there and cannot be read.

  Example:
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...   str(prepare("photos", data_dir=data_dir).relative_to(data_dir))
    'photos/1.0.0'
  """
  root = data_root(data_dir)
  manual = None if manual_dir is None else Path(manual_dir).expanduser()
  spec = _describe(name, root, manual)
  folder = set_folder(root, name, spec.version)
  if not spec.is_images:
    raise ValueError(f"{name} holds no images, and only sets of images are prepared")
  if not folder.exists():
    package_folder("tensorflow_datasets", extra="train", use=f"prepare {name}")
    with _disk_full_named(name, root):
      root.mkdir(parents=True, exist_ok=True)
      if manual is None:
        archives = download_archives(spec, root / "downloads", report=report)
      else:
        archives = find_archives(spec, manual, report=report)
      _build(spec, archives, root=root, folder=folder, report=report)
  _check_readable(folder)
  return folder


def is_prepared(spec: DataSpec, *, data_dir: str | os.PathLike[str] | None = None) -> bool:
  """Tell whether a set is prepared.

  Args:
    spec: Description of the set.
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

  Example:
    >>> is_prepared(get_spec("cifar10"), data_dir="no/such/folder")
    False
  """
  try:
    _check_readable(set_folder(data_root(data_dir), spec.name, spec.version))
  except ValueError:
    return False
  return True


def _describe(name: str, root: Path, manual_dir: Path | None) -> DataSpec:
  """Return the set's description; that of a folder of images is made from the folder."""
  if manual_dir is None or not name.startswith(f"{folders.FAMILY}/"):
    return get_spec(name, data_dir=root)
  tree = manual_dir / folders.parse_name(name)[0]
  spec = folders.describe(name, tree)
  folder = set_folder(root, name, spec.version)
  if folder.exists():
    before = get_spec(name, data_dir=root)
    if (before.splits, before.class_names) != (spec.splits, spec.class_names):
      raise ValueError(
        f"{folder} was prepared from other images than {tree} holds now: delete it and retry"
      )
  return spec


def _build(
  spec: DataSpec, archives: Mapping[str, Path], *, root: Path, folder: Path, report: Report
) -> None:
  """Build the set in a temporary folder under ``root``, then move it to its place."""
  from isomax_jax.data.builders import builder_class

  _check_space(spec, root)
  with tempfile.TemporaryDirectory(prefix="incomplete.", dir=root) as staging:
    builder = builder_class(spec.name)(
      spec=spec, data_dir=staging, archives=archives, report=report
    )
    with _quiet():
      builder.download_and_prepare(file_format="array_record")
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    if counts != spec.splits:
      raise ValueError(f"{spec.name} must have the splits {dict(spec.splits)}, got {counts}")
    built = Path(builder.data_dir)
    _read_back(spec, built, report)
    if spec.name.startswith(f"{folders.FAMILY}/"):
      (built / folders.SPEC_FILE).write_text(json.dumps(spec_to_json(spec), indent=2) + "\n")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
      os.rename(built, folder)
    except OSError:
      # Another process was faster; what it made is as good.
      if not folder.exists():
        raise


def _read_back(spec: DataSpec, built: Path, report: Report) -> None:
  """Read what was written, which verifies it, and keep it decoded."""
  arrays = {}
  total = sum(spec.splits.values())
  done = 0
  for split, count in spec.splits.items():
    report(Progress(spec.name, "read back", done, total, split))
    stored = open_stored(built, spec, split)
    arrays[f"{split}-labels"] = stored.labels
    if spec.num_bytes() < LARGEST_RESIDENT:
      arrays[f"{split}-images"] = stored.read(slice(None)).images
    done += count
  write_decoded(built, arrays)
  report(Progress(spec.name, "read back", done, total))


def _check_space(spec: DataSpec, root: Path) -> None:
  """Raise OSError unless there is space for the records, and the decoded images if kept."""
  needed = spec.num_bytes() * (2 if spec.num_bytes() < LARGEST_RESIDENT else 1)
  free = shutil.disk_usage(root).free
  if free < needed:
    raise OSError(errno.ENOSPC, f"{needed >> 20:,} MiB are needed, {free >> 20:,} MiB are free")


@contextlib.contextmanager
def _disk_full_named(name: str, root: Path) -> Iterator[None]:
  """Make the error of a full disk name the folder and the set."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    # The writer of records raises RuntimeError with the system's words.
    known = (words for words in map(os.strerror, _DISK_FULL) if words in str(error))
    full = error if isinstance(error, OSError) and error.errno in _DISK_FULL else None
    reason = full.strerror if full else next(known, None)
    if reason is None:
      raise
    raise OSError(
      f"{name} does not fit into {root} ({reason}): free some space there or choose another "
      "data_dir"
    ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keep TFDS's progress bars and announcements off the terminal."""
  from tensorflow_datasets.core.utils import tqdm_utils

  active = getattr(tqdm_utils, "_active", True)
  tqdm_utils.display_progress_bar(enable=False)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tqdm_utils.display_progress_bar(enable=active)


def _check_readable(folder: Path) -> None:
  """Raise ValueError unless the folder's metadata are those of a set that can be read."""
  try:
    file_format = read_json(folder / "dataset_info.json").get("fileFormat")
  except (OSError, ValueError) as error:
    raise ValueError(f"{folder} is not a whole prepared data set; delete it and retry") from error
  if file_format != "array_record":
    raise ValueError(
      f"{folder} is prepared as {file_format}, which needs TensorFlow; array_record is expected: "
      "delete it or choose another data_dir"
    )
