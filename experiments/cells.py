"""What a table is made of: cells, each a network trained on one set and measured in one way."""

import csv
import dataclasses
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS as NETWORKS
from isomax_jax.reporting import Record
from isomax_jax.reporting.records import METRIC_LABELS
from isomax_jax.training import (
  DataConfig,
  ModelConfig,
  OptimConfig,
  RunConfig,
  TrainConfig,
  create_objective_config,
)

# What is kept of what was measured.
DETECTION_METRICS = ("tnr_at_tpr", "auroc", "detection_accuracy")
KNOWN_METRICS = ("accuracy", "negative_log_likelihood", "expected_calibration_error")
METRICS = DETECTION_METRICS + KNOWN_METRICS
MODELS = ("densenet_bc_100", "resnet34")
IN_SETS = ("cifar10", "cifar100", "svhn_cropped")
# Made of the same images as ODIN's, but resized otherwise: never a number of the paper's.
OTHER_RESIZES = ("tiny_imagenet_resize/nearest", "tiny_imagenet_resize/antialiased")
# The objective that no name mentions.
PLAIN = "classification"
_NAMES = {
  "cifar10": "CIFAR-10",
  "cifar100": "CIFAR-100",
  "svhn_cropped": "SVHN",
  "odin_imagenet_resize": "TinyImageNet",
  "odin_lsun_resize": "LSUN",
  "tiny_imagenet_resize/nearest": "Tiny ImageNet, nearest",
  "tiny_imagenet_resize/antialiased": "Tiny ImageNet, antialiased",
  "uniform_noise/32x32x3": "uniform noise",
  "gaussian_noise/32x32x3": "Gaussian noise",
  "mnist_5k, other classes": "unseen digits",
  "mahalanobis_perturbed": "Mahalanobis, perturbed, last stage",
  "mahalanobis_perturbed_all_stages": "Mahalanobis, perturbed, all four stages",
}


def method(head: str, detector: str | None, objective: str | None = None) -> str:
  """Name a method in cells and in paper.csv, such as ``"softmax-acet+maximum_probability"``."""
  objective = "" if objective in (None, PLAIN) else f"-{objective}"
  return head + objective + (f"+{detector}" if detector else "")


class Cell(NamedTuple):
  """One place in a table, for every metric and seed.

  Attributes:
    model: Name of the network.
    in_set: Reference of the known set.
    head: Name of the head.
    detector: Name of the detector; None where accuracy is measured.
    out_set: Reference of the unknown set; None where accuracy is measured.
    entropic_scale: The paper's :math:`E_s`; None takes the head's own.
    epoch: Epoch of the checkpoint; None takes the last one.
    objective: What training minimises; None is plain classification.
  """

  model: str
  in_set: str
  head: str
  detector: str | None = None
  out_set: str | None = None
  entropic_scale: float | None = None
  epoch: int | None = None
  objective: str | None = None

  @property
  def method(self) -> str:
    """Head, objective and detector, such as ``"isomax+entropic_score"``."""
    scale = "" if self.entropic_scale is None else f"-es{self.entropic_scale:g}"
    return method(self.head + scale, self.detector, self.objective)

  @property
  def checkpoint(self) -> str:
    """Rule of the checkpoint, as records give it."""
    return "last" if self.epoch is None else f"epoch {self.epoch}"

  @property
  def name(self) -> str:
    """What the cell is called in a shell: ``MODEL/IN_SET/METHOD[/OUT_SET][@epoch N]``."""
    parts = [self.model, self.in_set, self.method, *([self.out_set] if self.out_set else [])]
    return "/".join(parts) + ("" if self.epoch is None else f"@{self.checkpoint}")


class Experiment(NamedTuple):
  """A table or a figure.

  Attributes:
    name: Its name, also that of its records.
    cells: What it shows.
    get_config: Function, picklable, of a cell to its training, whole and of seed 0.
    seeds: Seeds that are run unless told.
    epochs: Epochs that trainings are shortened to unless told; None where they are whole.
    held_out: Known test images that are left out of every number.
    tune_on: What the options of ODIN and Mahalanobis are chosen on, besides the images held out;
      see `isomax_jax.runs.Tuning`. None leaves their defaults.
    keep_log: Whether training loss and entropy of every logged epoch are records too.
    keep_scores: Whether the scores of the last checkpoint are kept, beside the runs.
    scores: Functions of logits to scores, picklable, that cells name but the library does not.
  """

  name: str
  cells: Sequence[Cell]
  get_config: Callable[[Cell], TrainConfig]
  seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
  epochs: int | None = None
  held_out: int = 0
  tune_on: str | None = None
  keep_log: bool = False
  keep_scores: bool = False
  scores: Mapping[str, Callable[[jax.Array], jax.Array]] = {}

  def training(self, cell: Cell, seed: int) -> TrainConfig:
    """Return the training of a cell; where it is shortened, its milestones scale with it.

    Raises:
      ValueError: If the epochs do not shorten it.
    """
    config = dataclasses.replace(self.get_config(cell), seed=seed)
    if self.epochs is None:
      return config
    if not 0 < self.epochs < config.optim.epochs:
      raise ValueError(
        f"epochs must be from 1 to {config.optim.epochs - 1}, fewer than the whole training has, "
        f"got {self.epochs}"
      )
    optim = dataclasses.replace(config.optim, epochs=self.epochs)
    return dataclasses.replace(config, optim=optim)


def get_config(cell: Cell) -> TrainConfig:
  """Return the paper's training of a cell.

  Whole training split, 300 epochs; see `isomax_jax.training.OptimConfig` for the rest, which is
  the authors'. The convolutions compute in bfloat16.
  """
  return TrainConfig(
    data=DataConfig(name=cell.in_set, validation=0),
    model=ModelConfig(
      name=cell.model, head=cell.head, entropic_scale=cell.entropic_scale, dtype="bfloat16"
    ),
    objective=create_objective_config(cell.objective or PLAIN),
    optim=OptimConfig(epochs=300),
    run=RunConfig(checkpoint_epochs=5),
  )


def select(cells: Sequence[Cell], patterns: Sequence[str]) -> list[Cell]:
  """Return the cells whose names match a shell pattern or more.

  Raises:
    ValueError: If a pattern matches none.
  """
  for pattern in patterns:
    if not any(fnmatch.fnmatchcase(cell.name, pattern) for cell in cells):
      raise ValueError(f"cells: no cell matches {pattern!r}; --list shows their names")
  return [
    cell for cell in cells if any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)
  ]


def name_of(name: str) -> str:
  """Name a network, set, head or method as tables and figures do."""
  for registry in (HEADS, NETWORKS, DETECTORS):
    if name in registry:
      return registry.label(name)
  return _NAMES.get(name, METRIC_LABELS.get(name, name))


class Key(NamedTuple):
  """What a cell of one seed and its records have in common."""

  model: str
  in_set: str
  head: str
  entropic_scale: float
  objective: str
  detector: str | None
  out_set: str | None
  checkpoint: str
  epochs: float
  seed: int


def key_of_cell(cell: Cell, config: TrainConfig) -> Key:
  """Return the key of a cell that was trained by a config."""
  scale = HEADS[cell.head].entropic_scale if cell.entropic_scale is None else cell.entropic_scale
  return Key(
    cell.model, cell.in_set, cell.head, scale, cell.objective or PLAIN, cell.detector,
    cell.out_set, cell.checkpoint, config.optim.epochs, config.seed,
  )  # fmt: skip


def key_of_record(record: Record) -> Key:
  """Return the key of a record."""
  return Key(*(getattr(record, name) for name in Key._fields))


# From network, known set, unknown set (None for accuracy), method and metric to percent.
Paper = dict[tuple[str, str, str | None, str, str], float]


def read_paper(table: str) -> Paper:
  """Read the numbers of one of the paper's tables; what it does not report is not there."""
  with open(Path(__file__).parent / "paper.csv", newline="") as file:
    return {
      (r["model"], r["in_set"], r["out_set"] or None, r["method"], r["metric"]): float(r["percent"])
      for r in csv.DictReader(file)
      if r["table"] == table
    }


def paper_cells(
  paper: Paper, methods: Sequence[tuple[str, str | None]], *, objective: str | None = None
) -> list[Cell]:
  """List the cells of a table's numbers, for the methods (head, detector) that are measured."""
  printed = dict.fromkeys(place[:4] for place in paper)
  places = dict.fromkeys(place[:3] for place in printed)
  cells = [
    Cell(model, in_set, head, detector, out_set, objective=objective)
    for model, in_set, out_set in places
    for head, detector in methods
  ]
  return [cell for cell in cells if (cell.model, cell.in_set, cell.out_set, cell.method) in printed]
