"""Table 2 of the paper: methods that perturb inputs, tune options or train adversarially.

    python -m experiments.table2 --list
    python -m experiments.table2 --cells 'resnet34/cifar10/*' --seeds 0 1 2 3 4 --workdir runs/paper

The networks are those of Table 1, and SoftMax networks trained by ACET, which takes about thirty
times as long; `--cells 'resnet34/cifar10/softmax+*' 'resnet34/cifar10/isomax+*'` leaves them out.
ODIN and Mahalanobis choose their options on a thousand test images and their adversarial examples;
these images are left out of the numbers of all.
"""

from experiments import cells, runner
from experiments.cells import Experiment, get_config
from isomax_jax.evaluation.tuning import ADVERSARIAL

PAPER = cells.read_paper("table2")
METHODS = (("softmax", "odin"), ("isomax", "entropic_score"), ("softmax", "mahalanobis"))
ACET = (("softmax", "maximum_probability"),)
CELLS = (*cells.paper_cells(PAPER, METHODS), *cells.paper_cells(PAPER, ACET, objective="acet"))
EXPERIMENT = Experiment("table2", CELLS, get_config, held_out=1000, tune_on=ADVERSARIAL)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
