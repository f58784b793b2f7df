"""Extensions: modules that register what they add to the library when they are imported."""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from isomax_jax._files import one_line
from isomax_jax._registry import all_or_nothing

OPTION = "--import"
GROUP = "isomax_jax"
"""Group of the entry points by which installed packages name their modules."""


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Split a command's arguments into the modules of ``--import MODULE`` and the others.

  Example:
    >>> split_imports(["--import", "mine", "train", "--import=yours.heads", "--head", "cosine"])
    (['mine', 'yours.heads'], ['train', '--head', 'cosine'])
  """
  modules, others = [], []
  words = iter(arguments)
  for word in words:
    if word == OPTION or word.startswith(f"{OPTION}="):
      module = word.partition("=")[2] if "=" in word else next(words, "")
      is_file = module.endswith(".py")
      if is_file or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(
          f"{OPTION} must name a module, such as my_package.heads, got {module or 'none'}"
        )
      modules.append(module)
    else:
      others.append(word)
  return modules, others


def load_extensions(modules: Sequence[str]) -> None:
  """Import the modules of installed packages' entry points, and those that are named.

  An entry point that cannot be imported is reported on the standard error and passed over: the
  command may not need it. One that is named raises ValueError; it may lie in the working directory.
  """
  for point in metadata.entry_points(group=GROUP):
    try:
      with all_or_nothing():
        point.load()
    except (Exception, SystemExit) as error:
      package = point.dist.name if point.dist else point.value
      print(
        f"isomax-jax: the extension {point.name} of {package} is left out: {_reason(error)}",
        file=sys.stderr,
      )
  if modules and (folder := os.getcwd()) not in sys.path:
    sys.path.append(folder)
  for module in modules:
    try:
      with all_or_nothing():
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
      raise ValueError(f"{OPTION} {module}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
  return f"{type(error).__name__}: {one_line(error)}"
