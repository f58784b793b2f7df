"""Folders of optional packages, found without an import."""

import importlib.util
from pathlib import Path


def package_folder(package: str, *, extra: str, use: str = "") -> Path:
  """Return the folder of an installed top-level package.

  Args:
    package: Its name, as it is imported.
    extra: The extra of this project that installs it.
    use: What it is needed to do.

  Raises:
    ModuleNotFoundError: If it is not installed; the message says how to install it.
  """
  found = importlib.util.find_spec(package)
  if found is None or not found.origin:
    raise ModuleNotFoundError(
      f"the package {package} is missing{use and f', needed to {use}'}; "
      f"pip install 'isomax_jax[{extra}]' installs it",
      name=package,
    )
  return Path(found.origin).parent
