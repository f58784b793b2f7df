"""Does the loss gain from softmax and logarithm taken one after the other, as its authors write?

    python -m experiments.sequential_log --workdir runs/sequential

IsoMax networks of the quickstart's protocol (three splits of the digits, seven seeds) are trained
twice, from the same start and with the same batches: with the library's loss, and with softmax,
then logarithm, in float32. It takes a quarter of an hour on two cores.
"""

import itertools
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from isomax_jax import data
from isomax_jax.cli.progress import ProgressLines
from isomax_jax.data import resident
from isomax_jax.evaluation.measure import Measurement
from isomax_jax.reporting import Record, append_records
from isomax_jax.runs import Run, find_out_sets, make_records, measure_run, quickstart
from isomax_jax.runs.known_set import find_known_set
from isomax_jax.runs.network import make_bind, make_network
from isomax_jax.runs.seeds import Job, Message, Report, run_jobs
from isomax_jax.training import (
  Losses,
  Objective,
  TrainConfig,
  classification,
  create_state,
  train_step,
)
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.objectives.base import Prepare
from isomax_jax.training.optim import learning_rates, sgd

NAME = "sequential_log"
SEEDS = range(7)
METRICS = ("accuracy", "auroc", "tnr_at_tpr")
DETECTORS = (None, "maximum_probability", "entropic_score")


def sequential_classification(prepare: Prepare, *, entropic_scale: float) -> Objective:
  """Make the objective as the authors compute it: softmax, then the logarithm of what comes out."""

  def objective(network, key, batch):
    outputs, batch_stats = network.train(prepare(key, batch))
    probabilities = jax.nn.softmax(entropic_scale * outputs.logits, axis=-1)
    of_label = jnp.take_along_axis(probabilities, batch.labels[:, None], axis=-1)[:, 0]
    return Losses(-jnp.log(of_label), outputs.logits, batch.labels, batch_stats)

  return objective


OBJECTIVES = {"fused_log": classification, "sequential_log": sequential_classification}


def train_and_measure(
  config: TrainConfig, loss_name: str, *, data_dir: Path | None, interruption: Interruption
) -> list[Record]:
  """Train a network with one of the losses and measure it.

  Args:
    config: What to train.
    loss_name: A key of ``OBJECTIVES``; the experiment of the records.
    data_dir: Where sets are kept.
    interruption: Looked at between steps.

  Returns:
    The records, among them ``infinite_losses``: at how many steps the loss was not finite. A
    network that this has ruined has no other.
  """
  started = time.perf_counter()
  known = find_known_set(config)
  training, _ = data.split_validation(
    data.load("mnist_5k", "train", classes=known.reference.classes, data_dir=data_dir),
    config.data.validation,
    seed=config.seed,
  )
  optim = config.optim
  total = round(optim.epochs * len(training.labels) / optim.batch_size)
  initial_key, step_key = jax.random.split(jax.random.key(config.seed))
  network = make_network(config, known)
  state = create_state(
    network,
    sgd(optim),
    initial_key,
    known.spec.example_shape,
    learning_rates=learning_rates(optim, total_steps=total),
  )
  source = resident.make_source(*training)
  objective = OBJECTIVES[loss_name](
    known.preprocessing.prepare, entropic_scale=config.model.entropic_scale
  )

  @jax.jit
  def step(state, draw):
    return train_step(state, resident.fetch(source, draw), step_key, objective=objective)

  losses = []
  draws = resident.draws(len(training.labels), batch_size=optim.batch_size, seed=config.seed)
  for draw in itertools.islice(draws, total):
    if interruption:
      raise Interrupted("stopped", interruption.signal)
    state, metrics = step(state, draw)
    losses.append(metrics["loss"])
  infinite = int(np.sum(~np.isfinite(jax.device_get(losses))))
  run = Run(
    config=config,
    known=known,
    classifier=make_bind(network, known)(state.variables),
    variables=state.variables,
    decision=None,
    checkpoint="last",
    epochs=optim.epochs,
  )
  count = Measurement(None, None, "infinite_losses", float(infinite), len(training.labels), 0)
  seconds = time.perf_counter() - started
  records = make_records(run, [count], experiment=loss_name, seconds=seconds)
  if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)):
    out_sets = find_out_sets(run, data_dir=data_dir)
    _, measured = measure_run(run, out_sets=out_sets, experiment=loss_name, data_dir=data_dir)
    records += [r for r in measured if r.metric in METRICS and r.detector in DETECTORS]
  return records


def _run_pair(
  job: Job, *, data_dir: Path | None, report: Report, interruption: Interruption
) -> list[Record]:
  records = []
  for number, loss_name in enumerate(OBJECTIVES):
    report(Message(job.name, number, len(OBJECTIVES), loss_name))
    records += train_and_measure(
      job.config, loss_name, data_dir=data_dir, interruption=interruption
    )
  report(Message(job.name, len(OBJECTIVES), len(OBJECTIVES), "done"))
  return records


def main(workdir: Path = Path("runs/sequential"), data_dir: Path | None = None) -> None:
  """Train all pairs and write their records.

  Args:
    workdir: Where the records go: sequential_log.jsonl.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  for name in quickstart.SETS:
    data.prepare(name, data_dir=data_dir)
  jobs = [
    job
    for job in quickstart.make_jobs(seeds=SEEDS, quick=False)
    if job.config.model.head == "isomax"
  ]
  with ProgressLines() as lines:
    records = run_jobs(partial(_run_pair, data_dir=data_dir), jobs, report=lines.show)
  path = workdir / f"{NAME}.jsonl"
  path.unlink(missing_ok=True)
  append_records(path, [record for of_job in records for record in of_job])
  print(f"records: {path}")


if __name__ == "__main__":
  tyro.cli(main)
