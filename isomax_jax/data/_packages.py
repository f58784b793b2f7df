"""Folders of optional packages, found without an import."""

import importlib.util
from pathlib import Path


def package_folder(package: str, *, extra: str, use: str = "") -> Path:
  """Return the folder of an installed top-level package, or raise ModuleNotFoundError.

  The message names the ``extra`` of this project that installs it, and the ``use`` it has.
  """
  found = importlib.util.find_spec(package)
  if found is None or not found.origin:
    raise ModuleNotFoundError(
      f"the package {package} is missing{use and f', needed to {use}'}; "
      f"pip install 'isomax_jax[{extra}]' installs it",
      name=package,
    )
  return Path(found.origin).parent
