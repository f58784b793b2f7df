import chex
import numpy as np
import pytest

from isomax_jax.jobs.train import train
from isomax_jax.jobs.trained import load_trained
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig


def test_the_network_of_an_epoch_is_that_of_its_checkpoint(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=0),
    optim=OptimConfig(epochs=4, learning_rate=0.05),
    run=RunConfig(checkpoint_epochs=1, checkpoints_kept=3),
  )
  train(config, tmp_path, data_dir=digits_dir)
  states = {epoch: load_trained(tmp_path, epoch=epoch).variables for epoch in (2, 3, 4)}
  last = load_trained(tmp_path).variables
  chex.assert_trees_all_equal(states[4], last)
  first, second, third = (states[epoch]["params"]["head"]["prototypes"] for epoch in (2, 3, 4))
  assert np.any(first != second)
  assert np.any(second != third)
  with pytest.raises(ValueError, match=r"no checkpoint of epoch 1; kept are: 2\.133, 3\.2, 4\.053"):
    load_trained(tmp_path, epoch=1)
