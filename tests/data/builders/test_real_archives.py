"""The publishers' images, where they are at hand: every pixel and label, archive to array.

``ISOMAX_DATA_ARCHIVES`` names a folder with ``unpack.py``, which writes the archives.
"""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from isomax_jax.data import load, prepare

FOLDER = Path(os.environ.get("ISOMAX_DATA_ARCHIVES", "../shared/data"))

pytestmark = [
  pytest.mark.by_hand,
  pytest.mark.skipif(not (FOLDER / "unpack.py").exists(), reason="no archives at hand"),
]


@pytest.fixture(scope="module")
def unpacker():
  pytest.importorskip("imagecodecs")
  spec = importlib.util.spec_from_file_location("unpack", FOLDER / "unpack.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="module")
def archives(unpacker, tmp_path_factory):
  folder = tmp_path_factory.mktemp("archives")
  subprocess.run([sys.executable, FOLDER / "unpack.py", folder], check=True)
  return folder


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar(name, unpacker, archives, tmp_path):
  prepare(name, manual_dir=archives, data_dir=tmp_path)
  for split in ("train", "test"):
    examples = load(name, split, data_dir=tmp_path)
    images, labels = unpacker.load(name, split)
    np.testing.assert_array_equal(examples.images, images)
    np.testing.assert_array_equal(examples.labels, labels)


def test_tiny_imagenet(archives, tmp_path):
  import imagecodecs

  for configuration in ("nearest", "antialiased"):
    prepare(f"tiny_imagenet_resize/{configuration}", manual_dir=archives, data_dir=tmp_path)
  nearest, antialiased = (
    load(f"tiny_imagenet_resize/{configuration}", "test", data_dir=tmp_path).images
    for configuration in ("nearest", "antialiased")
  )
  with zipfile.ZipFile(archives / "tiny-imagenet-200-test.zip") as archive:
    for number in range(10_000):
      content = archive.read(f"tiny-imagenet-200/test/images/test_{number}.JPEG")
      image = imagecodecs.jpeg8_decode(content, outcolorspace="RGB")
      np.testing.assert_array_equal(nearest[number], image[1::2, 1::2])
      # Antialiasing keeps what is smooth: the mean of each 2 x 2 block is near.
      blocks = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
      assert np.abs(antialiased[number] - blocks).mean() < 12
