"""Data sets made from a user's own folders of images: ``SPLIT/CLASS/IMAGE``."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from isomax_jax._files import one_line, read_json
from isomax_jax.data._places import data_root, set_folder
from isomax_jax.data.description import Archive, DataSpec, spec_from_json
from isomax_jax.data.images import SUFFIXES

FAMILY = "image_folder"
PATTERN = f"{FAMILY}/NAME-HEIGHTxWIDTHxCHANNELS"
SPEC_FILE = "spec.json"

_SPLITS = ("train", "validation", "test")


def parse_name(name: str) -> tuple[str, tuple[int, int, int]]:
  """Return the name of the folder and the shape of the images that a set's name states."""
  # One plain word, so that it is a folder's name and never a way out of the folder of sets.
  match = re.fullmatch(rf"{FAMILY}/(\w[\w.-]*)-(\w+)", name)
  if match is None:
    raise ValueError(f"a folder of images must be named like {PATTERN}, got {name!r}")
  return match[1], parse_shape(match[2])


def parse_shape(text: str) -> tuple[int, int, int]:
  """Return the height, width and channels that ``"HEIGHTxWIDTHxCHANNELS"`` states."""
  match = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})x([13])", text)
  if match is None:
    raise ValueError(f"shape of images must be like 32x32x3 (1 or 3 channels), got {text!r}")
  height, width, channels = map(int, match.groups())
  return height, width, channels


def how_to_prepare(name: str) -> str:
  """Return the command that prepares a set from a folder of images."""
  folder, _ = parse_name(name)
  return f"isomax-jax prepare {name} --manual-dir DIR, with images in DIR/{folder}/SPLIT/CLASS/"


def read_spec(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> DataSpec:
  """Read the description that was written when a folder of images was prepared.

  Raises:
    ValueError: If the name is not that of a folder of images, the set is not prepared, or its
      description cannot be read.
  """
  parse_name(name)
  root = data_root(data_dir)
  path = set_folder(root, name, DataSpec.version) / SPEC_FILE
  try:
    spec = spec_from_json(read_json(path))
    if (spec.name, spec.version) != (name, DataSpec.version):
      raise ValueError(f"it describes {spec.name} {spec.version}")
    return spec
  except (FileNotFoundError, NotADirectoryError):
    raise ValueError(f"{name} is not prepared in {root}; run {how_to_prepare(name)}") from None
  except ValueError as error:
    raise ValueError(
      f"{path} cannot be read ({one_line(error)}): delete its folder and prepare the set again"
    ) from error


def find_prepared(*, data_dir: str | os.PathLike[str] | None = None) -> list[DataSpec]:
  """Return the descriptions of all prepared folders of images, by name."""
  found = sorted(data_root(data_dir).glob(f"{FAMILY}/*/{DataSpec.version}/{SPEC_FILE}"))
  return [read_spec(f"{FAMILY}/{path.parts[-3]}", data_dir=data_dir) for path in found]


def describe(name: str, tree: Path) -> DataSpec:
  """Describe the set that a folder of images makes; its classes are sorted by name.

  Raises:
    ValueError: If a file or folder is not where it should be; the message names it.
  """
  _, shape = parse_name(name)
  files = {split: list_files(tree, split) for split in _splits(tree)}
  return DataSpec(
    name=name,
    example_shape=shape,
    class_names=tuple(sorted({file.parent.name for part in files.values() for file in part})),
    splits={split: len(part) for split, part in files.items()},
    role="in, out",
    description=f"Images of the folder {tree.name}, resized where they had another size.",
    source="a folder of the user's own",
    licence="the user's own",
    archives=(Archive(name=tree.name),),
    crop_padding=min(shape[:2]) // 8,
  )


def list_files(tree: Path, split: str) -> list[Path]:
  """List the images of a split, by class and name.

  Hidden files are ignored; anything else that is not an image in a class's folder is refused
  rather than left out, and so is a class without an image.
  """
  files = []
  for folder in _visible(tree / split):
    if not folder.is_dir():
      raise ValueError(f"{folder} must be a class's folder: move it into one, or away")
    images = list(_visible(folder))
    if not images:
      raise ValueError(f"{folder} holds no image: fill or delete it")
    for image in images:
      if image.suffix.lower() not in SUFFIXES or not image.is_file():
        raise ValueError(f"{image} must be an image ({', '.join(sorted(SUFFIXES))}): move it away")
    files += images
  if not files:
    raise ValueError(f"{tree / split} holds no class's folder: fill or delete it")
  return files


def _splits(tree: Path) -> list[str]:
  """List the splits that a tree holds, training first."""
  if not tree.is_dir():
    raise ValueError(f"{tree} is not a folder: it must hold SPLIT/CLASS/IMAGE")
  for path in _visible(tree):
    if path.name not in _SPLITS or not path.is_dir():
      raise ValueError(f"{path} must be a folder named {', '.join(_SPLITS[:-1])} or {_SPLITS[-1]}")
  splits = [split for split in _SPLITS if (tree / split).is_dir()]
  if not splits:
    raise ValueError(f"{tree} is empty: it must hold SPLIT/CLASS/IMAGE")
  return splits


def _visible(folder: Path) -> Iterator[Path]:
  return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
