"""Networks side by side: a thread for each device."""

import dataclasses
import signal
import threading
from functools import partial

import chex
import jax
import pytest

from isomax_jax.reporting import read_results
from isomax_jax.runs import load, train
from isomax_jax.runs import seeds as module
from isomax_jax.runs.seeds import Job
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig
from isomax_jax.training.interruption import Interrupted, Interruption

CONFIG = TrainConfig(
  data=DataConfig(name="mnist_5k:0,1"),
  optim=OptimConfig(epochs=2, learning_rate=0.05),
  run=RunConfig(log_epochs=0.3),
)


def on_devices(run, jobs, *, devices, interruption=None, report=lambda message: None):
  interruption = Interruption() if interruption is None else interruption
  return module._run_on_devices(run, jobs, jax.devices()[:devices], report, interruption)


def jobs_of(seeds):
  return [Job(f"seed{seed}", dataclasses.replace(CONFIG, seed=seed)) for seed in seeds]


@pytest.mark.slow
def test_seeds_side_by_side_are_those_trained_alone(tmp_path, digits_dir):
  """Three on two devices; the last one takes the place of the first that is done."""
  run = partial(module.train_job, workdir=tmp_path / "together", data_dir=digits_dir, fresh=False)
  messages = []
  folders = on_devices(run, jobs_of((0, 1, 2)), devices=2, report=messages.append)
  assert folders == [tmp_path / "together" / f"seed{seed}" for seed in range(3)]
  assert {message.name for message in messages} == {"seed0", "seed1", "seed2"}
  with jax.default_device(jax.devices()[3]):
    train(dataclasses.replace(CONFIG, seed=2), tmp_path / "alone", data_dir=digits_dir)
  losses = [
    [row["loss"] for row in read_results(f).metrics] for f in (folders[2], tmp_path / "alone")
  ]
  assert losses[0] == losses[1]
  networks = [load(folder).variables for folder in (*folders, tmp_path / "alone")]
  chex.assert_trees_all_equal(networks[2], networks[3])
  with pytest.raises(AssertionError):
    chex.assert_trees_all_close(networks[0], networks[1], rtol=0.1)


def test_each_job_has_a_device_of_its_own():
  together = threading.Barrier(3, timeout=30)

  def run(job, *, report, interruption):
    together.wait()  # All three are running at once.
    return jax.device_put(1.0).devices()

  used = on_devices(run, jobs_of(range(3)), devices=3)
  assert len(set.union(*used)) == 3


def test_what_waits_for_a_device_does_not_start_after_a_stop():
  started = []
  interruption = Interruption()

  def run(job, *, report, interruption):
    started.append(job.name)
    interruption.signal = signal.SIGINT
    raise Interrupted("stopped at step 3", signal.SIGINT)

  with pytest.raises(Interrupted, match="stopped at step 3"):
    on_devices(run, jobs_of(range(4)), devices=1, interruption=interruption)
  assert started == ["seed0"]


def test_a_seed_is_trained_once(tmp_path):
  with pytest.raises(ValueError, match="seeds must differ, got 1, 2, 1"):
    module.train_seeds(CONFIG, [1, 2, 1], tmp_path)
