"""Run directories: training, evaluation and prediction, as on the command line.

:func:`train` creates a run directory, :func:`load` loads the network in it, :func:`evaluate`,
:func:`benchmark` and :func:`predict` measure and use that network.

Example:
  >>> import tempfile
  >>> from isomax_jax.training import DataConfig, OptimConfig, TrainConfig
  >>> config = TrainConfig(data=DataConfig(name="mnist_5k:0,1"), optim=OptimConfig(epochs=1))
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   train(config, f"{folder}/run", data_dir=folder)
  ...   run = load(f"{folder}/run")
  >>> run.known.class_names, run.decision["detector"]
  (('0', '1'), 'entropic_score')
"""

from isomax_jax.runs._benchmark import BENCHMARK as BENCHMARK
from isomax_jax.runs._benchmark import Benchmark as Benchmark
from isomax_jax.runs._benchmark import benchmark as benchmark
from isomax_jax.runs._benchmark import time_records as time_records
from isomax_jax.runs._evaluate import Tuning as Tuning
from isomax_jax.runs._evaluate import evaluate as evaluate
from isomax_jax.runs._evaluate import find_out_sets as find_out_sets
from isomax_jax.runs._evaluate import make_records as make_records
from isomax_jax.runs._evaluate import measure_run as measure_run
from isomax_jax.runs._load import Run as Run
from isomax_jax.runs._load import load as load
from isomax_jax.runs._predict import Prediction as Prediction
from isomax_jax.runs._predict import Refusal as Refusal
from isomax_jax.runs._predict import predict as predict
from isomax_jax.runs._train import train as train
from isomax_jax.runs.compile import compile_programs as compile_programs
from isomax_jax.runs.seeds import train_seeds as train_seeds
