"""Every detector on the networks of the small study, options chosen on adversarial examples.

    python -m experiments.small_detectors --workdir runs/small

The trainings are those of `experiments.small_cifar`, so with its --workdir nothing is trained
twice. A thousand test images, on which ODIN and Mahalanobis choose their options, are left out of
the numbers of all. A network takes a quarter of an hour on one core.
"""

from experiments import runner, small_cifar
from experiments.cells import Cell, Experiment
from experiments.small_cifar import get_config
from isomax_jax.detectors import DETECTORS
from isomax_jax.evaluation.tuning import ADVERSARIAL

# The paper has no such network.
PAPER = ()
# They take the weights of a linear head apart.
OF_LINEAR_HEADS = tuple(name for name, entry in DETECTORS.items() if "linear head" in entry.needs)
CELLS = tuple(
  Cell(small_cifar.MODEL, small_cifar.IN_SET, head, detector, out_set)
  for head in small_cifar.HEADS
  for detector in DETECTORS
  for out_set in small_cifar.OUT_SETS
  if head == "softmax" or detector not in OF_LINEAR_HEADS
)
EXPERIMENT = Experiment(
  "small_detectors",
  CELLS,
  get_config,
  seeds=(0, 1, 2),
  held_out=1000,
  tune_on=ADVERSARIAL,
)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
