"""The silence of the command line, for the time of a test."""

import contextlib
import logging
import sys

from isomax_jax.training.checkpoints import silence

LOGGERS = ("absl", "asyncio")


@contextlib.contextmanager
def silenced():
  """Show nothing of what Orbax abandons, and afterwards show it again."""
  levels = {name: logging.getLogger(name).level for name in LOGGERS}
  hook = sys.unraisablehook
  silence()
  try:
    yield
  finally:
    sys.unraisablehook = hook
    for name, level in levels.items():
      logging.getLogger(name).setLevel(level)
