import jax.numpy as jnp
import numpy as np
import pytest

from experiments import sequential_log
from isomax_jax.training import DataConfig, Losses, ModelConfig, Network, OptimConfig, TrainConfig
from isomax_jax.training.interruption import Interruption
from isomax_jax.typing import Batch, Outputs


def test_both_losses_agree_where_the_authors_is_finite():
  logits = jnp.array([[-1.0, -2.0, -3.0], [-8.0, -1.0, -2.0], [-12.0, -1.0, -1.0]])
  network = Network(lambda inputs: (Outputs(inputs, features=inputs), {}), infer=None)
  batch = Batch(logits, labels=jnp.zeros(3, jnp.int32), positions=None)
  fused, sequential = (
    sequential_log.OBJECTIVES[name](lambda key, batch: batch.images, entropic_scale=10.0)(
      network, None, batch
    ).values
    for name in ("fused_log", "sequential_log")
  )
  scaled = 10 * np.asarray(logits, np.float64)
  expected = np.log(np.exp(scaled).sum(-1)) - scaled[:, 0]
  np.testing.assert_allclose(fused, expected, rtol=1e-6)
  # A probability near 1 has no digits left for its logarithm.
  np.testing.assert_allclose(sequential[:2], expected[:2], rtol=1e-6, atol=1e-7)
  assert sequential[2] == np.inf


@pytest.mark.slow
def test_a_pair_starts_alike_and_is_measured_alike(digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=1 / 3),
    model=ModelConfig(name="small_cnn", head="isomax"),
    optim=OptimConfig(epochs=4, learning_rate=0.05),
  )
  options = {"data_dir": digits_dir, "interruption": Interruption()}
  pair = [
    {
      (r.detector, r.out_set, r.metric): r.value
      for r in sequential_log.train_and_measure(config, name, **options)
    }
    for name in sequential_log.OBJECTIVES
  ]
  assert pair[0].keys() == pair[1].keys()
  assert pair[0][None, None, "infinite_losses"] == 0
  assert pair[0][None, None, "accuracy"] > 0.8
  for key, value in pair[0].items():
    assert abs(value - pair[1][key]) < 0.1, key


@pytest.mark.slow
def test_a_network_that_is_ruined_has_only_the_count(digits_dir, monkeypatch):
  def ruinous(prepare, *, entropic_scale):
    def objective(network, key, batch):
      outputs, batch_stats = network.train(prepare(key, batch))
      values = jnp.inf * outputs.logits[:, 0]
      return Losses(values, outputs.logits, batch.labels, batch_stats)

    return objective

  monkeypatch.setitem(sequential_log.OBJECTIVES, "sequential_log", ruinous)
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=1 / 3), optim=OptimConfig(epochs=2)
  )
  records = sequential_log.train_and_measure(
    config, "sequential_log", data_dir=digits_dir, interruption=Interruption()
  )
  assert [(r.metric, r.value, r.experiment) for r in records] == [
    ("infinite_losses", 6.0, "sequential_log")
  ]
