"""What the builders of labelled images have in common."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from isomax_jax.data.specs import get_spec


class ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Write labelled images as PNG, in the order in which they come.

  A set's builder names itself, gives its version and returns from ``_split_generators`` what
  :meth:`_generate_examples` makes of the images and labels of each split.
  """

  def _info(self) -> tfds.core.DatasetInfo:
    """Describe the set to TFDS from its entry in the table of sets."""
    spec = get_spec(self.name)
    return tfds.core.DatasetInfo(
      builder=self,
      description=f"{spec.description}\n\nSource: {spec.source}",
      license=spec.licence,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=spec.image_shape, encoding_format="png"),
          "label": tfds.features.ClassLabel(names=spec.class_names),
        }
      ),
      supervised_keys=("image", "label"),
      disable_shuffling=True,
    )

  def _generate_examples(
    self, images: Iterable[np.ndarray], labels: Iterable[int]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the examples with their position as key.

    Images are handed over as Pillow images: TFDS encodes arrays with TensorFlow.

    Args:
      images: uint8 arrays of shape ``[height, width]`` or ``[height, width, 3]``.
      labels: Class indices.

    Yields:
      Position and features of each example.
    """
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
      yield position, {"image": Image.fromarray(image), "label": int(label)}
