"""The known set of a run, and the batches of a config."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from isomax_jax import data
from isomax_jax.data import resident, stream
from isomax_jax.data.out_sets import find_unknown
from isomax_jax.data.pipeline import Pipeline, with_outliers
from isomax_jax.training import TrainConfig
from isomax_jax.typing import Preprocessing

# Added to the seed of the outliers' order. NumPy reads a seed as words of 32 bits: a run's own seed
# is one, followed by that of the epoch, which never gets so high.
_OUTLIERS = (2**32 - 1) * 2**32


class Split(NamedTuple):
  """A split of a set, and the pipeline of its batches: resident, stream, or auto by its size."""

  reference: data.Reference
  spec: data.DataSpec
  name: str
  pipeline: str

  @property
  def streamed(self) -> bool:
    """Whether it is read from disk as it is needed, instead of kept on the device."""
    is_large = self.spec.num_bytes(self.name) >= data.LARGEST_RESIDENT
    return is_large if self.pipeline == "auto" else self.pipeline == "stream"

  def open(self, data_dir: str | os.PathLike[str] | None) -> data.Labelled:
    """Open the examples: on disk where they are streamed, else in memory."""
    read = data.open_split if self.streamed else data.load
    name, classes = self.reference
    return read(name, self.name, classes=classes, data_dir=data_dir)

  def blank(self) -> data.Examples:
    """Return zeros in the examples' number and shape, which take no memory."""
    count = self.spec.splits[self.name]
    images = np.broadcast_to(np.zeros((), self.spec.dtype), (count, *self.spec.example_shape))
    return data.Examples(images, np.broadcast_to(np.int32(0), count))


class KnownSet(NamedTuple):
  """The set that a network is trained on.

  Attributes:
    reference: The set and its known classes.
    spec: The set's description.
    class_names: Names of the known classes, by label.
    preprocessing: How stored images become the network's input.
  """

  reference: data.Reference
  spec: data.DataSpec
  class_names: tuple[str, ...]
  preprocessing: Preprocessing

  def load_test(
    self, *, held_out: int, seed: int, data_dir: str | os.PathLike[str] | None
  ) -> tuple[data.Examples, data.Examples]:
    """Load the test images in two parts: the rest, and so many that are held out by a seed."""
    name, classes = self.reference
    test = data.load(name, "test", classes=classes, data_dir=data_dir)
    count = len(test.labels)
    if not 0 <= held_out < count:
      raise ValueError(f"held_out must be 0 or more, below the {count} test images, got {held_out}")
    is_held = np.zeros(count, bool)
    is_held[np.random.default_rng(seed).permutation(count)[:held_out]] = True
    return test.take(~is_held), test.take(is_held)


def find_known_set(
  config: TrainConfig, *, find: Callable[[str], data.DataSpec] = data.get_spec
) -> KnownSet:
  """Look up the set that a config names, by a function of names to descriptions."""
  reference = data.parse_reference(config.data.name, find=find)
  spec = find(reference.name)
  if "train" not in spec.splits:
    trainable = ", ".join(name for name, other in data.SPECS.items() if "train" in other.splits)
    raise ValueError(f"{spec.name} has no images to train on; sets that have: {trainable}")
  classes = range(len(spec.class_names)) if reference.classes is None else reference.classes
  padding, flip = config.data.crop_padding, config.data.flip
  return KnownSet(
    reference=reference,
    spec=spec,
    class_names=tuple(spec.class_names[label] for label in classes),
    preprocessing=data.make_preprocessing(
      spec,
      crop_padding=spec.crop_padding if padding is None else padding,
      flip=spec.flip if flip is None else flip,
    ),
  )


def find_splits(
  config: TrainConfig, known: KnownSet, *, data_dir: str | os.PathLike[str] | None
) -> list[Split]:
  """Look up the splits of a config's batches: of the known set, and maybe of outliers."""
  splits = [Split(known.reference, known.spec, "train", config.run.pipeline)]
  outliers = config.objective.outliers
  if outliers is not None:
    reference, spec = find_unknown(
      known.reference, known.spec, outliers, role="objective.outliers", data_dir=data_dir
    )
    # An out-set has one split.
    name = "train" if "train" in spec.splits else next(iter(spec.splits))
    splits.append(Split(reference, spec, name, config.run.pipeline))
  return splits


def make_pipeline(config: TrainConfig, *examples: tuple[Split, data.Labelled]) -> Pipeline:
  """Make the pipeline of a config's batches: of the known split, and maybe of outliers."""
  pipelines = []
  for number, (split, each) in enumerate(examples):
    options = {"batch_size": config.optim.batch_size, "seed": config.seed + number * _OUTLIERS}
    if split.streamed:
      pipelines.append(stream.make_pipeline(each, **options, workers=config.run.workers))
    else:
      pipelines.append(resident.make_pipeline(each, **options))
  return pipelines[0] if len(pipelines) == 1 else with_outliers(*pipelines)
