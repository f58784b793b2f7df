"""CIFAR-100, from its publisher's binary archive."""

from typing import ClassVar

from isomax_jax.data.builders._cifar import CifarBuilder


class Builder(CifarBuilder, skip_registration=True):
  """A hundred fine classes; the 20 coarse ones are ignored."""

  name = "cifar100"
  FOLDER = "cifar-100-binary"
  MEMBERS: ClassVar = {"train": ("train.bin",), "test": ("test.bin",)}
  NAMES = "fine_label_names.txt"
  LABEL_BYTES = 2
