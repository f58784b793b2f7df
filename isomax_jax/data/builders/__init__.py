"""TFDS builders that need no TensorFlow, one file a set, each with a class ``Builder``.

Importing a builder imports TFDS, so :func:`builder_class` does it when a set is asked for.
"""

import importlib
from typing import Any

from isomax_jax.data.specs import SPECS


def builder_class(name: str) -> type[Any]:
  """Return the TFDS builder of a set.

  The builders are not registered with TFDS, where some of the names are taken.

  Args:
    name: Name of the set, with its configuration where it has one.

  Returns:
    A subclass of ``tfds.core.GeneratorBasedBuilder``.

  Example:
    >>> builder_class("letters").name
    'letters'
  """
  if name in SPECS and SPECS[name].builder is not None:
    return SPECS[name].builder()
  module = importlib.import_module(f"{__name__}.{name.partition('/')[0]}")
  return module.Builder
