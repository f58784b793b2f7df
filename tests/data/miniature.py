"""Miniature archives in the layouts of their publishers, with the images that they hold.

Each function writes into a folder and returns ``{split: (images, labels)}``. Nothing of the
library is used, so that a reader is compared with what was written.
"""

import io
import tarfile
import zipfile

import numpy as np
import scipy.io
from PIL import Image

CIFAR10 = [
  "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
]  # fmt: skip
COARSE = [f"coarse_{index}" for index in range(20)]


def add(archive, name, content):
  member = tarfile.TarInfo(name)
  member.size = len(content)
  archive.addfile(member, io.BytesIO(content))


def write_tar(path, members):
  with tarfile.open(path, "w:gz") as archive:
    for name, content in members.items():
      add(archive, name, content)


def random_images(count, seed=0, side=32):
  return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def rows(images, *label_columns):
  """CIFAR's rows, byte by byte: labels, then the red, the green and the blue plane."""
  content = bytearray()
  for index, image in enumerate(images):
    content += bytes(int(column[index]) for column in label_columns)
    for channel in range(3):
      content += image[:, :, channel].tobytes()
  return bytes(content)


def cifar10_members(seed=0):
  """Five files of ten images to train on and one to test with; every class once in each."""
  generator = np.random.default_rng(seed)
  members = {"cifar-10-batches-bin/batches.meta.txt": ("\n".join(CIFAR10) + "\n\n").encode()}
  files = [f"data_batch_{batch}.bin" for batch in range(1, 6)] + ["test_batch.bin"]
  content = {}
  for number, file in enumerate(files):
    images, labels = random_images(10, seed + number), generator.permutation(10)
    members[f"cifar-10-batches-bin/{file}"] = rows(images, labels)
    content[file] = (images, labels)
  train = [
    np.concatenate(part) for part in zip(*[content[file] for file in files[:5]], strict=True)
  ]
  return members, {"train": tuple(train), "test": content["test_batch.bin"]}


def cifar10(folder):
  members, content = cifar10_members()
  write_tar(folder / "cifar-10-binary.tar.gz", members)
  return content


def cifar100(folder, names):
  """Two images a class to train on, one to test with."""
  content, members = {}, {}
  members["cifar-100-binary/coarse_label_names.txt"] = "\n".join(COARSE).encode()
  members["cifar-100-binary/fine_label_names.txt"] = "\n".join(names).encode()
  for seed, (split, count) in enumerate({"train": 200, "test": 100}.items()):
    images = random_images(count, seed)
    labels = np.random.default_rng(seed).permutation(count) % 100
    members[f"cifar-100-binary/{split}.bin"] = rows(images, labels % 20, labels)
    content[split] = (images, labels)
  write_tar(folder / "cifar-100-binary.tar.gz", members)
  return content


def svhn(folder):
  """A handful of images; a label of 10 stands for the digit 0."""
  content = {}
  for seed, (split, count) in enumerate({"train": 12, "test": 5}.items()):
    images, labels = random_images(count, seed), np.arange(count) % 10
    stored = np.where(labels == 0, 10, labels).astype(np.uint8)
    arrays = {"X": np.stack(list(images), axis=-1), "y": stored[:, None]}
    scipy.io.savemat(folder / f"{split}_32x32.mat", arrays, do_compression=True)
    content[split] = (images, labels)
  return content


def encoded(image, kind, **options):
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def tiny_imagenet(folder, count=12, name="tiny-imagenet-200.zip"):
  """JPEG files, out of order and one of them grey; their decoded pixels are returned."""
  smooth = np.linspace(0, 255, 64)
  images = []
  with zipfile.ZipFile(folder / name, "w") as archive:
    archive.writestr("tiny-imagenet-200/wnids.txt", "n01443537\n")
    for number in reversed(range(count)):
      noise = np.random.default_rng(number).normal(0, 20, (64, 64, 3))
      image = np.clip(smooth[:, None, None] + noise, 0, 255).astype(np.uint8)
      content = encoded(image[..., 0] if number == 3 else image, "JPEG", quality=90)
      archive.writestr(f"tiny-imagenet-200/test/images/test_{number}.JPEG", content)
      decoded = np.asarray(Image.open(io.BytesIO(content)))
      images.insert(0, np.dstack([decoded] * 3) if decoded.ndim == 2 else decoded)
  return np.stack(images)


def odin(folder, name, count=6):
  """PNG files in a folder in a folder, and what macOS leaves beside them."""
  images = random_images(count)
  members = {f"{name}/{name}/{number}.png": encoded(images[number], "PNG")
             for number in reversed(range(count))}  # fmt: skip
  members[f"{name}/{name}/._0.png"] = b"resource fork"
  members[f"{name}/.DS_Store"] = b"junk"
  write_tar(folder / f"{name}.tar.gz", members)
  return images


def image_tree(folder, sides=(8, 8), classes=("ant", "bee"), per_class=3):
  """PNG files ``split/class/number.png``; returns images by (split, class, number)."""
  images = {}
  for seed, split in enumerate(("train", "test")):
    for offset, name in enumerate(classes):
      (folder / split / name).mkdir(parents=True)
      for number in range(per_class):
        generator = np.random.default_rng([seed, offset, number])
        image = generator.integers(0, 256, (*sides, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / split / name / f"{number}.png")
        images[split, name, number] = image
  return images
