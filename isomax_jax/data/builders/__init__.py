"""TFDS builders without TensorFlow: one module per set, each with a class ``Builder``.

Importing a builder imports TFDS, so :func:`builder_class` does it only when a set is built.
"""

import importlib
from typing import Any

from isomax_jax.data.specs import SPECS


def builder_class(name: str) -> type[Any]:
  """Return a set's subclass of ``tfds.core.GeneratorBasedBuilder``.

  It is not registered with TFDS, where some of the names are taken.
  """
  if name in SPECS and (builder := SPECS[name].builder) is not None:
    return builder()
  return importlib.import_module(f"{__name__}.{name.partition('/')[0]}").Builder
