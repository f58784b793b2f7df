"""``isomax-jax prepare``."""

from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from isomax_jax import data


def prepare(
  names: tyro.conf.Positional[tuple[str, ...]],
  *,
  manual_dir: Path | None = None,
  data_dir: Path | None = None,
) -> int:
  """Prepare data sets once, so that training and evaluation read them at once.

  Example: isomax-jax prepare cifar10 cifar100 --manual-dir ~/Downloads

  What is there already is left as it is; interrupted, a set is either whole or absent.
  isomax-jax data list shows all sets and how to get them.

  Args:
    names: Sets; one with several configurations stands for all of them.
    manual_dir: Folder of the publishers' archives, or of your own folders of images. None:
      download them (checksums are verified) to DATA_DIR/downloads.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  if not names:
    raise ValueError("names must name a set or more, got none; isomax-jax data list shows all")
  sets = [each for name in names for each in _configurations(name)]
  with _Bars() as bars:
    folders = [
      data.prepare(name, data_dir=data_dir, manual_dir=manual_dir, report=bars.show)
      for name in sets
    ]
  for name, folder in zip(sets, folders, strict=True):
    print(f"{name}: {folder}")
  return 0


def _configurations(name: str) -> list[str]:
  """Return the configurations of a set that is named without one."""
  return [each for each in data.SPECS if each.partition("/")[0] == name] or [name]


class _Bars:
  """A progress bar for each set, and remarks above them."""

  def __init__(self):
    self._progress = Progress(
      TextColumn("{task.description}"),
      BarColumn(bar_width=24),
      TextColumn("{task.percentage:>3.0f}% {task.fields[stage]}"),
      TimeElapsedColumn(),
      console=Console(stderr=True),
    )
    self._tasks: dict[str, TaskID] = {}
    self._started = False

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    if self._started:
      self._progress.stop()

  def show(self, progress: data.Progress) -> None:
    """Show how far a set is."""
    if not self._started:
      self._progress.start()
      self._started = True
    if progress.stage == "note":
      self._progress.console.print(
        f"note: {progress.text}", highlight=False, markup=False, emoji=False, soft_wrap=True
      )
      return
    if progress.name not in self._tasks:
      self._tasks[progress.name] = self._progress.add_task(progress.name, stage="")
    self._progress.update(
      self._tasks[progress.name],
      completed=progress.done,
      total=progress.total or None,
      stage=f"{progress.stage} {progress.text}",
    )
