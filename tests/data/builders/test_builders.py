import pytest
import tensorflow_datasets as tfds

from isomax_jax.data import SPECS
from isomax_jax.data.builders import builder_class
from tests.data.conftest import PACKAGED


@pytest.mark.parametrize("name", [*SPECS, "image_folder/flowers-8x8x3"])
def test_every_set_has_a_builder_that_tfds_does_not_list(name):
  builder = builder_class(name)
  family = name.partition("/")[0]
  assert issubclass(builder, tfds.core.GeneratorBasedBuilder)
  assert builder.name == family
  assert tfds.core.registered._DATASET_REGISTRY.get(family) is not builder


@pytest.mark.parametrize("name", PACKAGED)
def test_prepared_set_describes_itself(name, data_dir):
  spec = SPECS[name]
  info = tfds.builder_from_directory(data_dir / name / spec.version).info
  assert spec.source in info.description
  assert info.features["image"].shape == spec.example_shape
  assert {split: part.num_examples for split, part in info.splits.items()} == spec.splits


def test_tfds_finds_what_was_prepared(data_dir, tmp_path, shrink):
  from isomax_jax.data import prepare

  shrink("uniform_noise/32x32x3", test=3)
  prepare("uniform_noise/8x9x1", data_dir=tmp_path)
  source = tfds.data_source("uniform_noise/8x9x1", split="test", data_dir=tmp_path)
  assert len(source) == 3
  assert tfds.data_source("photos", split="test", data_dir=data_dir)[0]["label"] == 0
