import json

import pytest

from isomax_jax.data import SPECS, spec_from_json, spec_to_json


@pytest.mark.parametrize("name", ["photos", "cifar10"])
def test_description_survives_json(name):
  spec = SPECS[name]
  read = spec_from_json(json.loads(json.dumps(spec_to_json(spec))))
  for field, value in vars(spec).items():
    expected = () if field == "archives" else value
    assert getattr(read, field) == expected
    assert type(getattr(read, field)) is type(expected)


@pytest.mark.parametrize(
  "change",
  [
    lambda values: values.pop("name"),
    lambda values: values.pop("splits"),
    lambda values: values.update(colour="red"),
    lambda values: values.update(splits=[1]),
    lambda values: values.update(splits={"train": "many"}),
    lambda values: values.update(image_shape=None),
    lambda values: values.update(splits={"train": 2.7}),
    lambda values: values.update(splits={"train": -1}),
    lambda values: values.update(splits={}),
    lambda values: values.update(class_names=[]),
    lambda values: values.update(class_names=[1]),
    lambda values: values.update(flip="no"),
    lambda values: values.update(crop_padding=-1),
    lambda values: values.update(image_shape=[32, 32]),
    lambda values: values.update(image_shape=[32, 32, 2]),
    lambda values: values.update(image_shape=[10_000, 32, 3]),
    lambda values: values.update(normalization={"mean": [0.5]}),
    lambda values: values.update(normalization={"mean": [0.5], "std": [0.5]}),
    lambda values: values.update(normalization={"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]}),
    lambda values: values.update(normalization={"mean": [float("nan")] * 3, "std": [0.5] * 3}),
    lambda values: values.update(normalization={"mean": [0.5], "std": ["wide"]}),
  ],
)
def test_other_json_is_refused(change):
  values = json.loads(json.dumps(spec_to_json(SPECS["cifar10"])))
  change(values)
  with pytest.raises(ValueError, match=r"^not the description of a data set: "):
    spec_from_json(values)


def test_json_that_is_no_object_is_refused():
  for values in (None, [], "photos"):
    with pytest.raises(ValueError, match=r"^not the description of a data set: "):
      spec_from_json(values)


def test_bytes_of_images():
  assert SPECS["cifar10"].num_bytes() == 60_000 * 3072
  assert SPECS["cifar10"].num_bytes("train") == 50_000 * 3072
