"""An experiment of two small networks, as a command that tests can kill."""

import os

from experiments import runner
from experiments.cells import Cell, Experiment
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig


def get_config(cell):
  return TrainConfig(
    data=DataConfig(name=cell.in_set, validation=0),
    model=ModelConfig(name=cell.model, head=cell.head),
    optim=OptimConfig(epochs=24, batch_size=120, learning_rate=0.05),
    run=RunConfig(checkpoint_epochs=6, checkpoints_kept=4),
  )


KNOWN = "mnist_5k:0-3"
CELLS = (
  Cell("small_cnn", KNOWN, "softmax"),
  Cell("small_cnn", KNOWN, "softmax", "maximum_probability", "letters"),
  Cell("small_cnn", KNOWN, "isomax"),
  Cell("small_cnn", KNOWN, "isomax", "entropic_score", "letters"),
  Cell("small_cnn", KNOWN, "isomax", "entropic_score", "letters", epoch=12),
)
EXPERIMENT = Experiment("tiny", CELLS, get_config, seeds=(0,), held_out=100, keep_log=True)

if __name__ == "__main__":
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # One core: a training at a time.
  runner.main(EXPERIMENT, __doc__)
