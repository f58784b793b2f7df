"""Find the packages that the data sets are read with or taken from, without importing them."""

import importlib.util
from pathlib import Path


def package_folder(package: str, *, extra: str, use: str = "") -> Path:
  """Return the folder of an installed package, which is not imported for it.

  Args:
    package: Name of the top-level package, as it is imported.
    extra: The extra of this project that installs it; named in the message.
    use: What it is needed to do, for the message too.

  Returns:
    The folder that holds the package's ``__init__.py``.

  Raises:
    ModuleNotFoundError: If the package is not installed; the message says how to install it.

  Example:
    >>> package_folder("numpy", extra="train").name
    'numpy'
  """
  found = importlib.util.find_spec(package)
  if found is None or not found.origin:
    raise ModuleNotFoundError(
      f"the package {package} is missing{use and f', needed to {use}'}; "
      f"pip install 'isomax_jax[{extra}]' installs it",
      name=package,
    )
  return Path(found.origin).parent
