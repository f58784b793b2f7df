"""Every detector on the quickstart's networks, options chosen on adversarial examples.

    python -m experiments.digits_detectors --workdir runs/digits_detectors

Three splits of the digits into known and unknown ones by three seeds, a SoftMax and an IsoMax
network each. ODIN and Mahalanobis choose their options on the validation images, which no network
was trained on, and their adversarial examples.
"""

from experiments import runner
from experiments.cells import Cell, Experiment
from experiments.small_detectors import OF_LINEAR_HEADS
from isomax_jax.data import parse_reference
from isomax_jax.data.out_sets import default_out_sets
from isomax_jax.detectors import DETECTORS
from isomax_jax.evaluation.tuning import ADVERSARIAL
from isomax_jax.runs.quickstart import make_jobs
from isomax_jax.training import TrainConfig

# The paper has no such networks.
PAPER = ()
_CONFIGS = {
  (job.config.data.name, job.config.model.head): job.config
  for job in make_jobs(seeds=(0,), quick=False)
}


def get_config(cell: Cell) -> TrainConfig:
  """Return the training of a cell: the quickstart's."""
  return _CONFIGS[cell.in_set, cell.head]


CELLS = tuple(
  Cell(config.model.name, in_set, head, detector, out_set)
  for (in_set, head), config in _CONFIGS.items()
  for detector in DETECTORS
  for out_set in default_out_sets(parse_reference(in_set))
  if head == "softmax" or detector not in OF_LINEAR_HEADS
)
EXPERIMENT = Experiment("digits_detectors", CELLS, get_config, seeds=(0, 1, 2), tune_on=ADVERSARIAL)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
