"""The paper's networks at a shortened schedule: CIFAR-10 and CIFAR-100 known, 60 epochs of 300.

    python -m experiments.short_cifar --list
    python -m experiments.short_cifar --cells 'resnet34/cifar10/*' --seeds 0
    python -m experiments.short_cifar --epochs 32 --take runs/from-elsewhere/*

For a GPU that is there for minutes: all is as in Table 1 but for the epochs, which every record and
table names, and which the learning rate's milestones scale with. Unknown are the other CIFAR and
the test images of Tiny ImageNet, resized in two ways; scores are all that need the logits alone.
Scores of the test sets are kept in WORKDIR/scores, for metrics to be computed anew. A training is a
fifth of the paper's; it has not been timed yet.
"""

from collections.abc import Sequence

from experiments import cells, runner
from experiments.cells import Cell, Experiment, get_config

# None of its numbers is the paper's.
PAPER = ()
EPOCHS = 60
MODELS = ("resnet34", "densenet_bc_100")
OUT_SETS = {
  "cifar10": ("cifar100", *cells.OTHER_RESIZES),
  "cifar100": ("cifar10", *cells.OTHER_RESIZES),
}
HEADS = ("softmax", "isomax")
# All that need the logits alone, in the tables' order.
DETECTORS = ("maximum_probability", "entropic_score", "max_logit", "energy", "mmles", "gen")


def make_cells(model: str, in_set: str, out_sets: Sequence[str]) -> list[Cell]:
  """List the cells of a network and a known set: accuracies, then detection."""
  return [
    *(Cell(model, in_set, head) for head in HEADS),
    *(
      Cell(model, in_set, head, detector, out_set)
      for head in HEADS
      for detector in DETECTORS
      for out_set in out_sets
    ),
  ]


CELLS = tuple(
  cell
  for model in MODELS
  for in_set, out_sets in OUT_SETS.items()
  for cell in make_cells(model, in_set, out_sets)
)
EXPERIMENT = Experiment(
  "short_cifar", CELLS, get_config, seeds=(0, 1, 2), epochs=EPOCHS, keep_scores=True
)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
