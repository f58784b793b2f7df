import collections
import dataclasses

import pytest

from experiments import (
  cells,
  figure1,
  short_cifar,
  small_cifar,
  small_detectors,
  table1,
  table2,
  table3,
)
from experiments.cells import Cell, get_config, key_of_cell, key_of_record
from experiments.runner import run_name
from isomax_jax.data import get_spec
from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS
from isomax_jax.reporting import Record
from isomax_jax.training import Acet, Classification, ModelConfig, OutlierExposure, TrainConfig

ACET = "softmax-acet+maximum_probability"
EXPERIMENTS = {
  module.EXPERIMENT.name: module
  for module in (table1, table2, table3, figure1, small_cifar, small_detectors, short_cifar)
}


def test_the_papers_tables_are_whole():
  # Table 2 has places for 144 numbers, at 31 of which it prints none.
  assert [len(module.PAPER) for module in (table1, table2, table3)] == [162, 113, 12]
  methods = collections.Counter(method for *_, method, _ in table2.PAPER)
  assert methods == {
    "softmax+odin": 33,
    ACET: 9,
    "isomax+entropic_score": 36,
    "softmax+mahalanobis": 35,
  }


@pytest.mark.parametrize(
  ("paper", "place", "percent"),
  [
    (
      table1.PAPER,
      ("resnet34", "cifar100", "odin_lsun_resize", "softmax+maximum_probability", "auroc"),
      74.7,
    ),
    (
      table1.PAPER,
      ("densenet_bc_100", "cifar10", "svhn_cropped", "isomax+entropic_score", "tnr_at_tpr"),
      77.0,
    ),
    (table2.PAPER, ("resnet34", "cifar10", "svhn_cropped", ACET, "detection_accuracy"), None),
    (table2.PAPER, ("resnet34", "cifar10", "svhn_cropped", ACET, "auroc"), 98.1),
    (table3.PAPER, ("resnet34", "cifar100", None, "isomax", "accuracy"), 75.3),
    (table3.PAPER, ("densenet_bc_100", "cifar10", None, "softmax", "accuracy"), 94.9),
  ],
)
def test_the_papers_numbers_are_those_that_it_prints(paper, place, percent):
  assert paper.get(place) == percent


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_cells_name_what_there_is(name):
  experiment = EXPERIMENTS[name].EXPERIMENT
  assert experiment.cells == EXPERIMENTS[name].CELLS
  assert len({cell.name for cell in experiment.cells}) == len(experiment.cells)
  for cell in experiment.cells:
    assert cell.model in MODELS
    assert cell.detector in {None, *DETECTORS, *experiment.scores}
    assert "in" in get_spec(cell.in_set).role.split(", ")
    assert cell.out_set is None or "out" in get_spec(cell.out_set).role.split(", ")
    assert (cell.detector is None) == (cell.out_set is None)
    config = experiment.get_config(cell)
    assert (config.data.name, config.model.name) == (cell.in_set, cell.model)
    assert config.model.head == cell.head
    assert config.data.validation == 0


@pytest.mark.parametrize("table", [table1, table2, table3])
def test_every_number_of_a_table_has_its_cell(table):
  measured = {(c.model, c.in_set, c.out_set, c.method) for c in table.CELLS}
  printed = {place[:4] for place in table.PAPER}
  assert printed <= measured
  assert {place[2] for place in measured - printed} <= set(cells.OTHER_RESIZES)


def test_what_table2_tunes_on_is_in_no_number_and_no_out_set():
  assert table2.EXPERIMENT.held_out == small_detectors.EXPERIMENT.held_out == 1000
  assert table2.EXPERIMENT.tune_on == small_detectors.EXPERIMENT.tune_on == "adversarial"


def test_the_small_study_has_every_detector_on_its_networks():
  networks = {small_cifar.get_config(cell) for cell in small_cifar.CELLS}
  measured = collections.Counter()
  for cell in small_detectors.CELLS:
    assert small_detectors.get_config(cell) in networks
    measured[cell.head, cell.out_set] += 1
  assert {out_set for _, out_set in measured} == set(small_cifar.OUT_SETS)
  for (head, _), detectors in measured.items():
    assert detectors == len(DETECTORS) - 2 * (head == "isomax")  # DICE and ViM


def test_the_papers_training_is_the_papers():
  config = table3.get_config(Cell("resnet34", "cifar10", "isomax"))
  optim = config.optim
  assert (optim.epochs, optim.batch_size, optim.learning_rate, optim.decay) == (300, 64, 0.1, 0.1)
  assert optim.milestones == (1 / 2, 2 / 3, 5 / 6)
  assert (optim.momentum, optim.weight_decay) == (0.9, 1e-4)
  assert (config.model.entropic_scale, config.model.dtype) == (10, "bfloat16")
  assert (config.data.crop_padding, config.data.flip) == (None, None)
  for name in cells.IN_SETS:
    spec = get_spec(name)
    assert (spec.crop_padding, spec.flip) == (4, True)


def test_tables_and_figure_share_their_trainings():
  of_tables = {
    table.get_config(cell)
    for table in (table1, table2, table3)
    for cell in table.CELLS
  }  # fmt: skip
  plain = {config for config in of_tables if config.objective == Classification()}
  assert len(plain) == 2 * 3 * 2
  # ACET's numbers are of one network.
  acet = {(c.model.name, c.model.head, c.objective) for c in of_tables - plain}
  assert acet == {("resnet34", "softmax", Acet())}
  assert len(of_tables - plain) == 3
  of_figure = {figure1.EXPERIMENT.get_config(cell) for cell in figure1.CELLS}
  assert len(of_figure) == 4
  assert len(of_figure - of_tables) == 2


def test_the_small_study_is_the_paper_with_another_network_and_fewer_epochs():
  (small,) = {small_cifar.get_config(c).optim for c in small_cifar.CELLS}
  assert small == table3.get_config(table3.CELLS[0]).optim.__class__(epochs=24)
  assert {cell.entropic_scale for cell in small_cifar.CELLS} == {None, 1.0, 3.0}


def test_methods_have_short_names():
  names = {name for place in [*table1.PAPER, *table2.PAPER] for name in place[3].split("+")}
  assert names - {"softmax-acet"} <= {*HEADS, *DETECTORS}


def test_names_mention_an_objective_that_is_no_classification():
  cell = Cell("resnet34", "cifar10", "softmax", "maximum_probability", "svhn_cropped")
  assert cell.name == "resnet34/cifar10/softmax+maximum_probability/svhn_cropped"
  acet = cell._replace(objective="acet")
  assert acet.name == f"resnet34/cifar10/{ACET}/svhn_cropped"
  names = [run_name(get_config(each)) for each in (cell, acet)]
  assert names == [
    "cifar10-resnet34-softmax-es1-300epochs-seed0",
    "cifar10-resnet34-softmax-es1-acet-300epochs-seed0",
  ]
  exposed = OutlierExposure(outliers="letters:0,1")
  name = run_name(TrainConfig(objective=exposed))
  assert name == "mnist_5k-small_cnn-isomax-es10-outlier_exposure-letters_0_1-300epochs-seed0"


def test_run_names_mention_zero_init_residual_where_it_is_on():
  names = [
    run_name(TrainConfig(model=ModelConfig(name="resnet34", zero_init_residual=on)))
    for on in (False, True)
  ]
  assert names == [
    "mnist_5k-resnet34-isomax-es10-300epochs-seed0",
    "mnist_5k-resnet34-zero_init_residual-isomax-es10-300epochs-seed0",
  ]


def test_a_cell_is_measured_by_records_of_its_objective():
  cell = Cell("resnet34", "cifar10", "softmax", "maximum_probability", "svhn_cropped")
  keys = {key_of_cell(each, get_config(each)) for each in (cell, cell._replace(objective="acet"))}
  assert {key.objective for key in keys} == {"classification", "acet"}
  record = Record(
    experiment="table2", model=cell.model, head=cell.head, entropic_scale=1, objective="acet",
    in_set=cell.in_set, out_set=cell.out_set, detector=cell.detector, seed=0, epochs=300,
    metric="auroc", value=0.9, n_in=1, device="", versions={}, wall_time=1.0, time="",
  )  # fmt: skip
  assert key_of_record(record) in keys
  assert key_of_record(dataclasses.replace(record, objective="classification")) in keys
