"""Run what an experiment's records lack: nothing twice, and on where an earlier try stopped."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import tyro

from experiments.cells import (
  METRICS,
  PLAIN,
  Cell,
  Experiment,
  Key,
  key_of_cell,
  key_of_record,
  select,
)
from experiments.elsewhere import read_elsewhere
from isomax_jax import data, scores
from isomax_jax._files import read_arrays, write_arrays, write_atomically
from isomax_jax.cli.main import guard
from isomax_jax.cli.progress import ProgressLines
from isomax_jax.detectors import create_detector, from_logits
from isomax_jax.reporting import Record, append_records, read_records, read_results
from isomax_jax.runs import Tuning, load, measure_run
from isomax_jax.runs.seeds import Job, Report, run_jobs, train_job
from isomax_jax.training import TrainConfig
from isomax_jax.training.interruption import Interruption

# The maximum probability as float32 gives it, ties at 1 and all: for a footnote of the tables.
FLOAT32_MPS = "maximum_probability_float32"
_LOGGED = ("loss", "entropy")


class Training(NamedTuple):
  """A network, and the cells that are measured on it."""

  job: Job
  cells: tuple[Cell, ...]


def main(experiment: Experiment, description: str, arguments: Sequence[str] | None = None) -> None:
  """Make an experiment a command and exit.

  Args:
    experiment: The experiment.
    description: What ``--help`` says first.
    arguments: The arguments; None takes the process's own.
  """
  program = f"python -m experiments.{experiment.name}"
  Epochs = tyro.conf.Suppress[None] if experiment.epochs is None else int  # noqa: N806 (a type)

  def command(
    *,
    cells: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATTERN...")] = ("*",),
    seeds: tuple[int, ...] = experiment.seeds,
    epochs: Epochs = experiment.epochs,
    workdir: Path = Path("runs/paper"),
    data_dir: Path | None = None,
    take: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="RUN...")] = (),
    show: Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(name="list")] = False,
  ) -> int:
    """Run what is missing.

    Args:
      cells: Shell patterns of cells' names.
      seeds: Seeds of the trainings.
      epochs: Epochs of the trainings; other epochs are other cells.
      workdir: Where runs and records are; experiments that share it share their trainings.
      data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      take: Run directories that isomax-jax train and evaluate made elsewhere: add all their
        records, and run nothing.
      show: List the cells and the seeds that are measured, and run nothing.
    """
    if take and (show or cells != ("*",) or seeds != experiment.seeds):
      raise ValueError("--take adds all that its runs hold: leave out --cells, --seeds and --list")
    study = experiment._replace(epochs=epochs)
    selected = select(study.cells, cells)
    if show:
      print("\n".join(list_cells(study, selected, seeds, workdir=workdir, data_dir=data_dir)))
      return 0
    if take:
      print("\n".join(take_runs(study, take, workdir=workdir)))
      print(f"records: {records_path(study, workdir)}")
      print(f"tables: python -m experiments.tables --results {workdir}")
      return 0
    ready, unprepared = split_prepared(selected, data_dir=data_dir)
    if unprepared:
      fetch = f"isomax-jax prepare {' '.join(unprepared)}"
      if not ready:
        raise ValueError(f"no cell can be run before its sets are prepared: {fetch}")
      left = len(selected) - len(ready)
      print(f"{left} of {len(selected)} cells are left out until this is done: {fetch}")
    for name in split_trainings(study, ready, seeds, workdir=workdir)[1]:
      print(f"left out is what {name} lacks: it was trained elsewhere, and a second one differs")
    with ProgressLines() as lines:
      run(study, ready, seeds, workdir=workdir, data_dir=data_dir, report=lines.show)
    print(f"records: {records_path(study, workdir)}")
    print(f"tables: python -m experiments.tables --results {workdir}")
    return 0

  guard(
    program,
    lambda words: tyro.cli(command, args=words, prog=program, description=description),
    arguments,
  )


def records_path(experiment: Experiment, workdir: Path) -> Path:
  """Return where an experiment's records are."""
  return workdir / f"{experiment.name}.jsonl"


def run(
  experiment: Experiment,
  cells: Sequence[Cell],
  seeds: Sequence[int],
  *,
  workdir: Path,
  data_dir: str | os.PathLike[str] | None = None,
  report: Report = lambda message: None,
) -> None:
  """Train and measure what the experiment's records lack of some cells.

  All records of a training are appended in one write, so a cell is there whole or not at all. A
  training that was stopped goes on from its last checkpoint. A network that was taken from
  elsewhere is not trained a second time.

  Args:
    experiment: The experiment.
    cells: The cells.
    seeds: Seeds of the trainings.
    workdir: Where runs and records are.
    data_dir: Where sets are kept.
    report: Told how far each training is.

  Raises:
    Interrupted: If it was asked to stop; what was trained so far is saved.
  """
  trainings, _ = split_trainings(experiment, cells, seeds, workdir=workdir)
  run_jobs(
    partial(
      _run_job,
      experiment=experiment,
      cells={each.job.name: each.cells for each in trainings},
      workdir=workdir,
      data_dir=data_dir,
    ),
    [each.job for each in trainings],
    report=report,
  )


def missing_trainings(
  experiment: Experiment, cells: Iterable[Cell], seeds: Iterable[int], *, workdir: Path
) -> list[Training]:
  """List the trainings that have cells without records, all of the first seed first."""
  done = _measured(experiment, workdir)
  found: dict[TrainConfig, list[Cell]] = collections.defaultdict(list)
  for seed in seeds:
    for cell in cells:
      config = experiment.training(cell, seed)
      if key_of_cell(cell, config) not in done:
        found[config].append(cell)
  return [Training(Job(run_name(config), config), tuple(of)) for config, of in found.items()]


def split_trainings(
  experiment: Experiment, cells: Iterable[Cell], seeds: Iterable[int], *, workdir: Path
) -> tuple[list[Training], list[str]]:
  """Split missing trainings into those to run, and names of those whose network is elsewhere."""

  def is_elsewhere(training: Training) -> bool:
    return _elsewhere(workdir, training.job.name).exists()

  trainings = missing_trainings(experiment, cells, seeds, workdir=workdir)
  return (
    [training for training in trainings if not is_elsewhere(training)],
    [training.job.name for training in trainings if is_elsewhere(training)],
  )


def _elsewhere(workdir: Path, name: str) -> Path:
  """Return the file that says that a network is elsewhere, to all experiments of a workdir."""
  return workdir / "elsewhere" / f"{name}.txt"


def run_name(config: TrainConfig) -> str:
  """Name the run directory of a training: one for all cells that need it."""
  objective = [part for part in (config.objective.name, config.objective.outliers) if part]
  parts = [
    config.data.name,
    config.model.name,
    *(["zero_init_residual"] if config.model.zero_init_residual else []),
    config.model.head,
    f"es{config.model.entropic_scale:g}",
    *([] if objective == [PLAIN] else objective),
    f"{config.optim.epochs}epochs",
    f"seed{config.seed}",
  ]
  name = "-".join(parts)
  return name.translate(str.maketrans("/:,", "___"))


def list_cells(
  experiment: Experiment,
  cells: Sequence[Cell],
  seeds: Sequence[int],
  *,
  workdir: Path,
  data_dir: str | os.PathLike[str] | None = None,
) -> Iterator[str]:
  """Yield a line a cell: its name, the seeds that are measured, and sets that are missing."""
  done = _measured(experiment, workdir)
  width = max(len(cell.name) for cell in cells)
  for cell in cells:
    keys = {seed: key_of_cell(cell, experiment.training(cell, seed)) for seed in seeds}
    state = " ".join(str(seed) if key in done else "-" for seed, key in keys.items())
    unprepared = " ".join(_unprepared(cell, data_dir))
    yield f"{cell.name:{width}}  {state}" + (f"  needs {unprepared}" if unprepared else "")
  trainings, elsewhere = split_trainings(experiment, cells, seeds, workdir=workdir)
  epochs = "" if experiment.epochs is None else f", {experiment.epochs} epochs"
  for name in elsewhere:
    yield f"what {name} lacks is not measured: it was trained elsewhere"
  yield (
    f"{len(cells)} cells{epochs}, seeds {' '.join(map(str, seeds))}; measured in {workdir} are the "
    f"seeds that are shown; what is missing takes {len(trainings)} trainings"
  )


def take_runs(experiment: Experiment, run_dirs: Sequence[Path], *, workdir: Path) -> Sequence[str]:
  """Add the records of runs that were trained and evaluated elsewhere.

  Args:
    experiment: The experiment.
    run_dirs: The run directories; none is taken if one is refused.
    workdir: Where records are.

  Returns:
    A line a run, of what was added.

  Raises:
    ValueError: If a run is not of the experiment, see `experiments.elsewhere.read_elsewhere`, or
      its network is another one than was measured before or than is in the workdir.
  """
  before = {(key_of_record(r), r.metric): r.value for r in _read(experiment, workdir)}
  taken = []
  for run_dir in run_dirs:
    found = read_elsewhere(experiment, run_dir)
    name = run_name(found.config)
    own = workdir / "runs" / name
    if own.exists() and not own.samefile(run_dir):
      raise ValueError(f"{run_dir}: a network of the same name is in {own}; choose another workdir")
    records = list(found.records)
    if experiment.keep_log:
      records += _log_records(run_dir, records[0])
    added = [r for r in records if (key_of_record(r), r.metric) not in before]
    before |= {(key_of_record(r), r.metric): r.value for r in added}
    for r in records:
      value = before[key_of_record(r), r.metric]
      if value != r.value:
        raise ValueError(
          f"{run_dir}: {r.metric} is {r.value}, but {value} of the network of the same name that "
          "was measured before; choose another workdir"
        )
    taken.append((name, run_dir, found, added, len(records)))
  lines = []
  for name, run_dir, found, added, count in taken:
    if not (workdir / "runs" / name).exists():
      # Before its records: no experiment that shares the workdir may train another one by its name.
      note = _elsewhere(workdir, name)
      note.parent.mkdir(parents=True, exist_ok=True)
      write_atomically(note, f"taken from {run_dir.absolute()}\n".encode())
    if experiment.keep_scores:
      _keep_scores(workdir, name, found.scores)
    if added:
      append_records(records_path(experiment, workdir), added)
    lines.append(f"{name}: {len(added)} numbers added, {count - len(added)} were there")
  return lines


def _measured(experiment: Experiment, workdir: Path) -> set[Key]:
  return {key_of_record(r) for r in _read(experiment, workdir) if r.metric in METRICS}


def _read(experiment: Experiment, workdir: Path) -> list[Record]:
  path = records_path(experiment, workdir)
  return read_records(path) if path.exists() else []


def split_prepared(
  cells: Iterable[Cell], *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[list[Cell], list[str]]:
  """Return the cells whose sets are there, and the sets that the others need to be fetched."""
  missing = {cell: _unprepared(cell, data_dir) for cell in cells}
  ready = [cell for cell, sets in missing.items() if not sets]
  return ready, list(dict.fromkeys(name for sets in missing.values() for name in sets))


def _unprepared(cell: Cell, data_dir: str | os.PathLike[str] | None) -> list[str]:
  names = [name.partition(":")[0] for name in (cell.in_set, cell.out_set) if name]
  specs = [data.get_spec(name, data_dir=data_dir) for name in names]
  return [
    spec.name for spec in specs if spec.archives and not data.is_prepared(spec, data_dir=data_dir)
  ]


def _run_job(
  job: Job,
  *,
  experiment: Experiment,
  cells: Mapping[str, Sequence[Cell]],
  workdir: Path,
  data_dir: str | os.PathLike[str] | None,
  report: Report,
  interruption: Interruption,
) -> None:
  """Train a network, measure its cells and keep their records."""
  options = {"data_dir": data_dir, "report": report, "interruption": interruption}
  run_dir = train_job(job, workdir=workdir / "runs", **options)
  by_epoch = collections.defaultdict(list)
  for cell in cells[job.name]:
    by_epoch[cell.epoch].append(cell)
  records = []
  for epoch, of_epoch in by_epoch.items():
    scores, of_cells = _measure_cells(run_dir, epoch, of_epoch, experiment, data_dir)
    records += of_cells
    if experiment.keep_scores and epoch is None:
      _keep_scores(workdir, job.name, scores)
  if experiment.keep_log:
    logged = {(key_of_record(r), r.metric) for r in _read(experiment, workdir)}
    records += [
      r for r in _log_records(run_dir, records[0]) if (key_of_record(r), r.metric) not in logged
    ]
  append_records(records_path(experiment, workdir), records)


def _measure_cells(
  run_dir: Path,
  epoch: int | None,
  cells: Sequence[Cell],
  experiment: Experiment,
  data_dir: str | os.PathLike[str] | None,
) -> tuple[Mapping[str, np.ndarray], list[Record]]:
  """Measure the cells of one checkpoint, and return scores and records."""
  names = dict.fromkeys(cell.detector for cell in cells if cell.detector)
  detectors = {
    name: from_logits(experiment.scores[name])
    if name in experiment.scores
    else create_detector(name)
    for name in names
  }
  wanted = {(cell.detector, cell.out_set) for cell in cells}
  if "maximum_probability" in detectors and epoch is None:
    detectors[FLOAT32_MPS] = from_logits(scores.maximum_probability)
    wanted |= {(FLOAT32_MPS, out) for name, out in wanted if name == "maximum_probability"}
  measured, records = measure_run(
    load(run_dir, epoch=epoch),
    out_sets=list(dict.fromkeys(cell.out_set for cell in cells if cell.out_set)),
    experiment=experiment.name,
    detectors=detectors,
    tuning=None if experiment.tune_on is None else Tuning(experiment.tune_on),
    held_out=experiment.held_out,
    data_dir=data_dir,
  )
  for error in measured.refused.values():
    raise error
  kept = [r for r in records if (r.detector, r.out_set) in wanted and r.metric in METRICS]
  return measured.scores, kept


def _keep_scores(workdir: Path, name: str, scores: Mapping[str, np.ndarray]) -> None:
  """Keep a network's scores, which were computed in float32, beside those that are there."""
  path = workdir / "scores" / f"{name}.npz"
  before = read_arrays(path) if path.exists() else {}
  write_arrays(path, before | {key: values.astype(np.float32) for key, values in scores.items()})


def _log_records(run_dir: Path, like: Record) -> Iterator[Record]:
  """Turn a run's log into records: mean loss and entropy of what was trained on up to an epoch."""
  run = read_results(run_dir)
  batch_size = run.config["optim"]["batch_size"]
  lines = {}
  for line in run.metrics:
    epoch = round(line["epoch"])
    if line["split"] == "train" and abs(line["epoch"] - epoch) <= 0.1:
      lines.setdefault(epoch, line)  # Steps left over at the end make a second line.
  for epoch, line in lines.items():
    for name in _LOGGED:
      yield dataclasses.replace(
        like,
        out_set=None,
        detector=None,
        checkpoint=f"epoch {epoch}",
        metric=f"training_{name}",
        value=line[name],
        n_in=round(batch_size * line["step"] / line["epoch"]),
        n_out=0,
      )
