"""CIFAR-10, from its publisher's binary archive."""

from typing import ClassVar

from isomax_jax.data.builders._cifar import CifarBuilder


class Builder(CifarBuilder, skip_registration=True):
  """Ten classes; five training files and one test file."""

  name = "cifar10"
  FOLDER = "cifar-10-batches-bin"
  MEMBERS: ClassVar = {
    "train": tuple(f"data_batch_{batch}.bin" for batch in range(1, 6)),
    "test": ("test_batch.bin",),
  }
  NAMES = "batches.meta.txt"
  LABEL_BYTES = 1
