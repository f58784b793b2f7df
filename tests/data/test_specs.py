import dataclasses

import pytest

from isomax_jax.data import SPECS, ChannelStatistics, get_spec

CIFAR_SHAPE = (32, 32, 3)


def test_known_sets():
  assert set(SPECS) == {
    "mnist_5k", "letters", "photos", "cifar10", "cifar100", "svhn_cropped",
    "tiny_imagenet_resize/nearest", "tiny_imagenet_resize/antialiased", "odin_imagenet_resize",
    "odin_lsun_resize", "uniform_noise/32x32x3", "gaussian_noise/32x32x3",
  }  # fmt: skip
  for name, spec in SPECS.items():
    assert spec.name == name
    assert get_spec(name) is spec
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert spec.source
    assert spec.licence


@pytest.mark.parametrize(
  ("name", "classes", "splits", "mean", "std"),
  [
    ("cifar10", 10, (50_000, 10_000), (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)),
    ("cifar100", 100, (50_000, 10_000), (0.507, 0.486, 0.440), (0.267, 0.256, 0.276)),
    ("svhn_cropped", 10, (73_257, 26_032), (0.437, 0.443, 0.472), (0.198, 0.201, 0.197)),
  ],
)
def test_training_sets_of_the_paper(name, classes, splits, mean, std):
  spec = SPECS[name]
  assert spec.example_shape == CIFAR_SHAPE
  assert len(spec.class_names) == classes
  assert (spec.splits["train"], spec.splits["test"]) == splits
  assert spec.normalization == ChannelStatistics(mean, std)
  assert (spec.crop_padding, spec.flip, spec.role) == (4, True, "in, out")


def test_unknown_sets_of_the_paper():
  others = [spec for spec in SPECS.values() if spec.example_shape == CIFAR_SHAPE][3:]
  assert len(others) == 6
  for spec in others:
    assert (spec.role, spec.splits) == ("out", {"test": 10_000})


def test_what_is_downloaded_has_an_address_and_a_checksum():
  archives = {spec.name: spec.archives for spec in SPECS.values()}
  assert [name for name, needed in archives.items() if not needed] == [
    "mnist_5k", "letters", "photos", "uniform_noise/32x32x3", "gaussian_noise/32x32x3"
  ]  # fmt: skip
  for archive in {each for needed in archives.values() for each in needed}:
    assert archive.url.startswith("http")
    assert archive.name in archive.url
    kind, _, digest = archive.checksum.partition(":")
    assert len(bytes.fromhex(digest)) == {"sha256": 32, "md5": 16}[kind]


def test_letters_are_those_that_look_like_no_digit():
  assert "".join(SPECS["letters"].class_names) == "AEFHJKMNPRUVWXacdefhkmnpruvwxy"


def test_photographers_are_named_as_the_licence_asks():
  spec = SPECS["photos"]
  assert "danielbuechele" in spec.source
  assert "vultilion" in spec.source
  assert spec.licence.startswith("CC BY 2.0")


def test_spec_is_frozen_and_hashable():
  spec = SPECS["mnist_5k"]
  assert hash(spec) == hash(dataclasses.replace(spec))
  with pytest.raises(dataclasses.FrozenInstanceError):
    spec.flip = True


def test_unknown_set_lists_the_known_ones():
  message = (
    "^unknown data set 'mnist'; known: cifar10, cifar100, gaussian_noise/32x32x3, "
    "image_folder/NAME-HEIGHTxWIDTHxCHANNELS, letters, mnist_5k, .*, uniform_noise/32x32x3; "
    "one from outside is known once its module is imported"
  )
  with pytest.raises(ValueError, match=message):
    get_spec("mnist")


@pytest.mark.parametrize("name", ["letters/bold", "tiny_imagenet_resize", "tiny_imagenet_resize/x"])
def test_configurations_are_known_too(name):
  with pytest.raises(ValueError, match=f"^unknown data set '{name}'; known: "):
    get_spec(name)


def test_noise_of_any_shape():
  spec = get_spec("gaussian_noise/28x20x1")
  assert (spec.name, spec.example_shape) == ("gaussian_noise/28x20x1", (28, 20, 1))
  assert spec.splits == {"test": 10_000}
