"""What others add to the library, found from a shell: modules that register it when imported."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from isomax_jax._files import one_line

OPTION = "--import"
GROUP = "isomax_jax"
"""Group of entry points, each the name of a module."""


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Take the modules to import out of a command's arguments.

  Args:
    arguments: The arguments, with ``--import MODULE`` or ``--import=MODULE`` anywhere among them.

  Returns:
    The modules, and the other arguments.

  Raises:
    ValueError: If the last one is an ``--import`` of nothing.

  Example:
    >>> split_imports(["--import", "mine", "train", "--import=yours.heads", "--head", "cosine"])
    (['mine', 'yours.heads'], ['train', '--head', 'cosine'])
  """
  modules, others = [], []
  words = iter(arguments)
  for word in words:
    if word == OPTION or word.startswith(f"{OPTION}="):
      module = word.partition("=")[2] if "=" in word else next(words, "")
      if not module or module.startswith("-"):
        raise ValueError(f"{OPTION} must name a module, got {module or 'none'}")
      modules.append(module)
    else:
      others.append(word)
  return modules, others


def load_extensions(modules: Sequence[str]) -> None:
  """Import what installed packages declare as entry points, and modules that are named.

  An installed one that cannot be imported is said on the standard error and passed over: the
  command may not need it. Modules that are named are looked for in the working directory too.

  Args:
    modules: Names of modules.

  Raises:
    ValueError: If one of them cannot be imported.
  """
  for point in metadata.entry_points(group=GROUP):
    try:
      point.load()
    except Exception as error:
      package = point.dist.name if point.dist else point.value
      print(
        f"isomax-jax: the extension {point.name} of {package} is left out: {_reason(error)}",
        file=sys.stderr,
      )
  if modules and (folder := os.getcwd()) not in sys.path:
    sys.path.append(folder)
  for module in modules:
    try:
      importlib.import_module(module)
    except Exception as error:
      raise ValueError(f"{OPTION} {module}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
  return f"{type(error).__name__}: {one_line(error)}"
