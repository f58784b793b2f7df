"""The peer that training is timed against trains, on the images that it should."""

import jax
import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[bench]' brings it")

import torch

from experiments.benchmarks import _torch, training
from isomax_jax.models import create_model


def make(setting="channels last", **options):
  images, labels = training.draw_images()
  return images, _torch.Training(
    "resnet_small", _torch.SETTINGS[setting], images=images[:8], labels=labels[:8], device="cpu",
    **{"head": "isomax", "bfloat16": False, "batch_size": 8, "augmented": True} | options,
  )  # fmt: skip


def test_each_image_is_a_window_of_its_own_flipped_or_not():
  images, steps = make()
  mean, deviation = (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)
  padded = np.pad(images[:8], ((0, 0), (4, 4), (4, 4), (0, 0))) / np.float32(255)
  offsets = [(row, column, turn) for row in range(9) for column in range(9) for turn in (1, -1)]
  windows = np.stack([padded[:, r : r + 32, c : c + 32][:, :, ::turn] for r, c, turn in offsets])
  found = set()
  torch.manual_seed(0)
  for _ in range(20):
    crops = steps._crop(torch.arange(8), augmented=True).permute(0, 2, 3, 1).numpy()
    pixels = crops * np.float32(deviation) + np.float32(mean)
    same = np.abs(windows - pixels).max(axis=(2, 3, 4)) < 1e-5
    assert (same.sum(axis=0) == 1).all()
    found |= {offsets[i] for i in same.argmax(axis=0)}
  assert {row for row, _, _ in found} == {column for _, column, _ in found} == set(range(9))
  assert {turn for _, _, turn in found} == {1, -1}
  plain = steps._crop(torch.arange(8), augmented=False).permute(0, 2, 3, 1).numpy()
  np.testing.assert_allclose(plain, (images[:8] / 255 - mean) / deviation, atol=1e-5)


@pytest.mark.parametrize("setting", ["eager", "channels last"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_steps_learn_a_batch(setting, bfloat16):
  _, steps = make(setting, bfloat16=bfloat16, augmented=False)
  first = steps.run(1)
  assert first == pytest.approx(np.log(10), abs=0.02)  # Prototypes start at zero.
  assert steps.run(30) < 0.5 * first


@pytest.mark.parametrize("name", sorted(_torch.NETWORKS))
@pytest.mark.parametrize("head", ["isomax", "softmax"])
def test_networks_have_the_librarys_number_of_parameters(name, head):

  model = create_model(name, 10, head=head)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.float32), train=False)
  )
  expected = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
  network = _torch.NETWORKS[name](lambda features: _torch.HEADS[head](features, 10))
  assert sum(parameter.numel() for parameter in network.parameters()) == expected
