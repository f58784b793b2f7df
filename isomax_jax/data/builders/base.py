"""The base class of the TFDS builders."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from isomax_jax.data.description import DataSpec
from isomax_jax.data.progress import Progress, Report, silent

_REPORTED_EVERY = 250


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Write labelled images as PNG, in the order in which they come.

  A set's builder has a ``name``, and returns from ``_split_generators`` what
  :meth:`_generate_examples` makes of the images and labels of each split. Its class is declared
  with ``skip_registration=True``, since TFDS may know another of its name.

  Args:
    spec: Description of the set, with its configuration if it has one.
    data_dir: Where the set is written.
    archives: Paths of the files that the set is made from, by name.
    report: Called with the progress.
  """

  def __init__(
    self, *, spec: DataSpec, data_dir: str, archives: Mapping[str, Path], report: Report = silent
  ):
    self.spec = spec
    self.archives = archives
    self._report = report
    self._written = 0
    self.VERSION = tfds.core.Version(spec.version)
    configuration = spec.name.partition("/")[2]
    if configuration:
      self.BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=configuration)]
    super().__init__(data_dir=data_dir)

  def _info(self) -> tfds.core.DatasetInfo:
    spec = self.spec
    return tfds.core.DatasetInfo(
      builder=self,
      description=f"{spec.description}\n\nSource: {spec.source}",
      license=spec.licence,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=spec.example_shape, encoding_format="png"),
          "label": tfds.features.ClassLabel(names=spec.class_names),
        }
      ),
      supervised_keys=("image", "label"),
      disable_shuffling=True,
    )

  def _generate_examples(
    self, images: Iterable[np.ndarray], labels: Iterable[int]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the position and the features of each example.

    Args:
      images: uint8 arrays of shape ``[height, width]`` or ``[height, width, 1 or 3]``.
      labels: Class indices.
    """
    total = sum(self.spec.splits.values())
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
      # TFDS would encode an array with TensorFlow.
      encodable = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
      yield position, {"image": encodable, "label": int(label)}
      self._written += 1
      if self._written % _REPORTED_EVERY == 0 or self._written == total:
        self._report(Progress(self.spec.name, "write", self._written, total))
