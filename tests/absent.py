"""Installations that lack packages."""

PROGRAM = """
import sys
from importlib.machinery import PathFinder

absent = {packages!r}

class Finder(PathFinder):
  @classmethod
  def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
for name in [name for name in sys.modules if name.partition(".")[0] in absent]:
  del sys.modules[name]
"""


def without(*packages):
  """Return the lines of a program after which packages are no longer there.

  Whoever has imported one before keeps it.
  """
  return PROGRAM.format(packages=packages)
