"""Sets whose examples are no images, which others bring."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax import _registry
from isomax_jax.data import (
  SPECS,
  DataSpec,
  Examples,
  get_spec,
  make_preprocessing,
  prepare,
  resident,
  spec_from_json,
  spec_to_json,
  stream,
)
from isomax_jax.data.description import MAX_SIZE
from isomax_jax.typing import Batch

SPEC = DataSpec(
  name="measurements",
  dtype="float32",
  example_shape=(5,),
  class_names=("low", "high"),
  splits={"train": 30, "test": 10},
  role="in",
  description="Five numbers.",
  source="nowhere",
  licence="none",
)


@pytest.fixture
def examples():
  generator = np.random.default_rng(0)
  values = generator.normal(0, 100, size=(30, 5)).astype(np.float32)
  return Examples(values, np.arange(30, dtype=np.int32) % 2)


@pytest.fixture
def registered(monkeypatch):
  monkeypatch.setattr(_registry, "_ADDED", [])
  monkeypatch.setattr(SPECS, "_entries", dict(SPECS))
  SPECS.register(SPEC)


def test_they_are_no_images_and_have_a_size():
  assert not SPEC.is_images
  assert get_spec("mnist_5k").is_images
  assert SPEC.num_bytes() == 40 * 5 * 4
  assert SPEC.num_bytes("test") == 10 * 5 * 4


def test_they_go_into_the_network_as_they_are(examples):
  preprocessing = make_preprocessing(SPEC, crop_padding=0, flip=False)
  batch = Batch(jnp.asarray(examples.images[:4]), examples.labels[:4], jnp.arange(4))
  prepared = jax.jit(preprocessing.prepare)(jax.random.key(0), batch)
  np.testing.assert_array_equal(prepared, examples.images[:4])
  assert prepared.dtype == jnp.float32
  for function in (preprocessing.to_pixels, preprocessing.normalize):
    np.testing.assert_array_equal(function(batch.images), examples.images[:4])


@pytest.mark.parametrize("options", [{"crop_padding": 2}, {"flip": True}])
def test_they_are_not_augmented_as_images(options):
  message = "^data.crop_padding and data.flip are for images, got measurements$"
  with pytest.raises(ValueError, match=message):
    make_preprocessing(SPEC, **{"crop_padding": 0, "flip": False, **options})


@pytest.mark.parametrize("start", [0, 5])
def test_both_pipelines_give_the_same_batches(examples, start):
  options = {"batch_size": 8, "seed": 3}
  pipelines = [make.make_pipeline(examples, **options) for make in (resident, stream)]
  batches = [
    [
      jax.tree.map(np.asarray, pipeline.fetch(pipeline.source, draw))
      for draw in itertools.islice(pipeline.draws(start), 6)
    ]
    for pipeline in pipelines
  ]
  for one, other in zip(*batches, strict=True):
    assert one.images.shape == (8, 5)
    for field in ("images", "labels", "positions"):
      a, b = getattr(one, field), getattr(other, field)
      assert a.dtype == b.dtype
      np.testing.assert_array_equal(a, b)
  rows = {row.tobytes() for row in examples.images}
  assert all(row.tobytes() in rows for batch in batches[0] for row in batch.images)


@pytest.mark.parametrize("shape", [(5,), (7, 3), (2, 3, 4, 5), (MAX_SIZE,)])
def test_description_survives_json(shape):
  spec = dataclasses.replace(SPEC, example_shape=shape)
  values = json.loads(json.dumps(spec_to_json(spec)))
  assert (values["dtype"], values["example_shape"]) == ("float32", list(shape))
  assert "image_shape" not in values
  assert spec_from_json(values) == spec


def test_json_of_images_is_what_it_was():
  values = spec_to_json(get_spec("mnist_5k"))
  assert values["image_shape"] == (28, 28, 1)
  assert {"dtype", "example_shape", "builder", "archives"}.isdisjoint(values)


@pytest.mark.parametrize(
  "changes",
  [
    {"dtype": "float64"},
    {"dtype": "object"},
    {"dtype": 4},
    {"dtype": "uint8"},
    {"example_shape": []},
    {"example_shape": [0]},
    {"example_shape": [-5]},
    {"example_shape": [5.0]},
    {"example_shape": [MAX_SIZE + 1]},
    {"example_shape": 5},
    {"builder": "os.system"},
  ],
)
def test_other_json_is_refused(changes):
  values = {**json.loads(json.dumps(spec_to_json(SPEC))), **changes}
  with pytest.raises(ValueError, match=r"^not the description of a data set: "):
    spec_from_json(values)


def test_only_images_are_prepared(registered, tmp_path):
  assert get_spec("measurements") is SPEC
  message = "^measurements holds no images, and only sets of images are prepared$"
  with pytest.raises(ValueError, match=message):
    prepare("measurements", data_dir=tmp_path)
  assert list(tmp_path.iterdir()) == []
