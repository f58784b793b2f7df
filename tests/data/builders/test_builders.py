import tensorflow_datasets as tfds

from isomax_jax.data import SPECS
from isomax_jax.data.builders import builder_class


def test_every_set_has_a_builder_that_tfds_does_not_list():
  for name in SPECS:
    builder = builder_class(name)
    assert issubclass(builder, tfds.core.GeneratorBasedBuilder)
    assert builder.name == name
    assert builder_class(f"{name}/configuration") is builder
    assert name not in tfds.core.registered._DATASET_REGISTRY


def test_prepared_set_describes_itself(data_dir):
  for name, spec in SPECS.items():
    info = tfds.builder_from_directory(data_dir / name / "1.0.0").info
    assert spec.source in info.description
    assert info.features["image"].shape == spec.image_shape
    assert {split: part.num_examples for split, part in info.splits.items()} == spec.splits
