import os
import shutil
import subprocess
import sys

import chex
import numpy as np
import pytest

from isomax_jax.evaluation.measure import Measurement
from isomax_jax.runs import load, make_records, train
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig


@pytest.mark.slow
def test_the_network_of_an_epoch_is_that_of_its_checkpoint(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=0),
    optim=OptimConfig(epochs=4, learning_rate=0.05),
    run=RunConfig(checkpoint_epochs=1, checkpoints_kept=3),
  )
  train(config, tmp_path, data_dir=digits_dir)
  states = {epoch: load(tmp_path, epoch=epoch).variables for epoch in (2, 3, 4)}
  last = load(tmp_path).variables
  chex.assert_trees_all_equal(states[4], last)
  first, second, third = (states[epoch]["params"]["head"]["prototypes"] for epoch in (2, 3, 4))
  assert np.any(first != second)
  assert np.any(second != third)
  with pytest.raises(ValueError, match=r"no checkpoint of epoch 1; kept are: 2\.133, 3\.2, 4\.053"):
    load(tmp_path, epoch=1)
  with pytest.raises(ValueError, match="no checkpoint of epoch nan; kept are: "):
    load(tmp_path, epoch=float("nan"))
  # What is measured of a training that has not ended is not what its config asks for.
  assert load(tmp_path).epochs == 4
  shutil.rmtree(tmp_path / "checkpoints" / "19")
  unfinished = load(tmp_path)
  assert unfinished.epochs == 15 / (300 / 64)
  (record,) = make_records(
    unfinished, [Measurement(None, None, "accuracy", 0.5, 1, 0)], experiment="e", detectors={},
    seconds=1.0,
  )  # fmt: skip
  assert (record.epochs, record.checkpoint) == (3.2, "last")


@pytest.mark.slow
def test_a_network_is_loaded_where_there_are_fewer_devices(trained_run):
  """It was trained on eight."""
  code = (
    "import sys, jax, numpy as np; from isomax_jax.runs import load\n"
    "variables = load(sys.argv[1]).variables\n"
    "prototypes = np.asarray(variables['params']['head']['prototypes'])\n"
    "print(jax.device_count(), prototypes.tobytes().hex())"
  )
  answer = subprocess.run(
    [sys.executable, "-c", code, trained_run],
    env={**os.environ, "XLA_FLAGS": ""}, capture_output=True, text=True, check=True,
  )  # fmt: skip
  prototypes = np.asarray(load(trained_run).variables["params"]["head"]["prototypes"])
  assert answer.stdout.split() == ["1", prototypes.tobytes().hex()]
