"""The paper's comparison in small, for two CPU cores: a small ResNet, 24 epochs instead of 300.

    python -m experiments.small_cifar --workdir runs/small

Head, loss, optimiser and protocol are the paper's, the schedule is scaled; CIFAR-10 is known.
Besides the last one, the checkpoints of every second epoch are measured, which shows how each
score comes to what it is; the entropic score of multiples of the logits shows what it lacks; and
two more entropic scales are trained: Figure 1 in small. A network takes one to two hours a core.
"""

from functools import partial

import jax

from experiments import cells, figure1, runner
from experiments.cells import Cell, Experiment
from isomax_jax.scores import entropic_score
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

# The paper has no such network.
PAPER = ()
EPOCHS = 24
MODEL, IN_SET = "resnet_small", "cifar10"
OUT_SETS = (
  "cifar100",
  *cells.OTHER_RESIZES,
  "uniform_noise/32x32x3",
  "gaussian_noise/32x32x3",
)
NEAR = "cifar100"
HEADS = ("softmax", "isomax")
DETECTORS = ("maximum_probability", "entropic_score")


def _scaled_entropic_score(factor: float, logits: jax.Array) -> jax.Array:
  return entropic_score(factor * logits)


# The entropic score of the logits times a factor.
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
NAME_OF_FACTOR = {factor: f"entropic_score_of_{factor:g}_logits" for factor in FACTORS}
SCORES = {
  name: partial(_scaled_entropic_score, factor)
  for factor, name in NAME_OF_FACTOR.items()
  if factor != 1  # That is the entropic score.
}


def get_config(cell: Cell) -> TrainConfig:
  """Return the training of a cell: the paper's, shortened."""
  return TrainConfig(
    data=DataConfig(name=cell.in_set, validation=0),
    model=ModelConfig(name=cell.model, head=cell.head, entropic_scale=cell.entropic_scale),
    optim=OptimConfig(epochs=EPOCHS),
    run=RunConfig(checkpoint_epochs=2, checkpoint_minutes=None, checkpoints_kept=EPOCHS),
  )


def _make_cells() -> list[Cell]:
  accuracies = [Cell(MODEL, IN_SET, head) for head in HEADS]
  detections = [
    Cell(MODEL, IN_SET, head, detector, out_set)
    for head in HEADS
    for detector in DETECTORS
    for out_set in OUT_SETS
  ]
  curves = [
    cell._replace(epoch=epoch)
    for epoch in range(2, EPOCHS, 2)
    for cell in [*accuracies, *detections]
    if cell.out_set in (None, *OUT_SETS[:2])
  ]
  scaled = [
    Cell(MODEL, IN_SET, "isomax", score, out_set) for score in SCORES for out_set in OUT_SETS[:3]
  ]
  own = {("softmax", 1.0), ("isomax", 10.0)}  # They are there already.
  scales = [
    cell
    for cell in figure1.make_cells(MODEL, IN_SET, NEAR)
    if (cell.head, cell.entropic_scale) not in own
  ]
  return [*accuracies, *detections, *curves, *scaled, *scales]


CELLS = tuple(_make_cells())
EXPERIMENT = Experiment(
  "small_cifar", CELLS, get_config, seeds=(0, 1, 2), keep_log=True, scores=SCORES
)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
