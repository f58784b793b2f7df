"""``isomax-jax prepare``."""

from functools import partial
from pathlib import Path

import tyro

from isomax_jax import data
from isomax_jax.cli.progress import ProgressLines


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
  sets = []
  for name in names:
    configurations = [each for each in data.SPECS if each.partition("/")[0] == name]
    sets += configurations or [name]
  with ProgressLines() as lines:
    folders = [
      data.prepare(name, data_dir=data_dir, manual_dir=manual_dir, report=partial(_show, lines))
      for name in sets
    ]
  for name, folder in zip(sets, folders, strict=True):
    print(f"{name}: {folder}")
  return 0


def _show(lines: ProgressLines, progress: data.Progress) -> None:
  """Show how far a set is, and remarks above the lines."""
  if progress.stage == "note":
    note = f"note: {progress.text}"
    lines.start()
    lines.console.print(note, highlight=False, markup=False, emoji=False, soft_wrap=True)
  else:
    text = f"{progress.stage} {progress.text}"
    lines.set(progress.name, done=progress.done, total=progress.total or None, text=text)
