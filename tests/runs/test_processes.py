"""Two processes of two devices each train one network, are stopped, killed and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from isomax_jax.reporting import read_results
from isomax_jax.runs import train
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig
from isomax_jax.training.interruption import Interrupted
from tests.runs.test_train import StopAt

TOTAL = 101
CONFIG = TrainConfig(
  data=DataConfig(name="mnist_5k:0,1"),
  optim=OptimConfig(epochs=12, batch_size=32, learning_rate=0.02),
  run=RunConfig(strategy="sharded", log_epochs=0.12, checkpoint_epochs=1, validate_epochs=4),
)
COMMAND = [
  *("train", "--data", "mnist_5k:0,1", "--epochs", "12", "--optim.batch-size", "32"),
  *("--optim.learning-rate", "0.02", "--run.log-epochs", "0.12", "--run.checkpoint-epochs", "1"),
  *("--run.validate-epochs", "4", "--distributed", "--heartbeat-seconds", "10"),
]
# Seconds after which a process counts as hanging, on a machine that does much else.
PATIENCE = 600


@contextlib.contextmanager
def two_processes(workdir, data_dir):
  """Start both and end what is left of them."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  environment = {
    **os.environ,
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    "TFDS_DATA_DIR": str(data_dir),
  }
  processes = [
    subprocess.Popen(
      [
        *(sys.executable, "-c", "from isomax_jax.cli.main import main; main()", *COMMAND),
        *("--workdir", str(workdir), "--coordinator", f"localhost:{port}"),
        *("--num-processes", "2", "--process-id", str(index)),
      ],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for index in range(2)
  ]
  try:
    yield processes
  finally:
    for process in processes:
      process.kill()
      process.stdout.close()
      process.wait()


def steps_of(workdir):
  path = workdir / "metrics.jsonl"
  lines = read_results(workdir).metrics if path.exists() else []
  return [line["step"] for line in lines if line["split"] == "train"]


def wait_for_step(workdir, step, processes):
  deadline = time.monotonic() + PATIENCE
  while max(steps_of(workdir), default=0) < step:
    assert time.monotonic() < deadline
    assert all(process.poll() is None for process in processes)
    time.sleep(0.02)


def end_of(process):
  output, _ = process.communicate(timeout=PATIENCE)
  return process.returncode, output


@pytest.mark.slow
def test_two_processes_train_one_network_and_survive(tmp_path, digits_dir):
  alone, workdir = tmp_path / "alone", tmp_path / "run"
  with pytest.raises(Interrupted):
    train(CONFIG, alone, data_dir=digits_dir, interruption=StopAt(8))

  # A notice to one of them stops both after the same step, and all is saved.
  with two_processes(workdir, digits_dir) as processes:
    wait_for_step(workdir, 12, processes)
    processes[1].send_signal(signal.SIGTERM)
    ends = [end_of(process) for process in processes]
  stopped = max(steps_of(workdir))
  for code, output in ends:
    assert code == 128 + signal.SIGTERM, output
    assert f"stopped at step {stopped} of {TOTAL}; everything is saved" in output
  assert steps_of(workdir) == list(range(1, stopped + 1))
  assert (workdir / "checkpoints" / str(stopped)).is_dir()

  # They have trained the network of one process on eight devices.
  losses = [[line["loss"] for line in read_results(run).metrics[:5]] for run in (alone, workdir)]
  np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

  # Both go on from there. When one dies, the other ends too, and JAX says why.
  with two_processes(workdir, digits_dir) as processes:
    wait_for_step(workdir, stopped + 5, processes)
    processes[1].kill()
    code, output = end_of(processes[0])
  assert code != 0
  assert "another task died" in output or "lost the others" in output
  assert max(steps_of(workdir)) < TOTAL

  # Started again, they finish, and no step is missing or there twice.
  with two_processes(workdir, digits_dir) as processes:
    ends = [end_of(process) for process in processes]
  assert [code for code, _ in ends] == [0, 0], ends
  assert ["trained: " in output for _, output in ends] == [True, False]
  assert steps_of(workdir) == list(range(1, TOTAL + 1))
  assert read_results(workdir).decision["examples"] == 30
