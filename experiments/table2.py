"""Table 2 of the paper, its columns IsoMax+ES and ACET: the other two are not there yet.

    python -m experiments.table2 --list
    python -m experiments.table2 --cells 'resnet34/cifar10/*' --seeds 0 1 2 3 4 --workdir runs/paper

The networks are those of Table 1, and SoftMax networks trained by ACET, which takes about thirty
times as long; `--cells '*isomax*'` leaves them out. A thousand test images, on which the other
methods choose their hyperparameters, are left out of the numbers of all.
"""

from experiments import cells, runner
from experiments.cells import Experiment, get_config

PAPER = cells.read_paper("table2")
METHODS = (("isomax", "entropic_score"),)
ACET = (("softmax", "maximum_probability"),)
CELLS = (*cells.paper_cells(PAPER, METHODS), *cells.paper_cells(PAPER, ACET, objective="acet"))
EXPERIMENT = Experiment("table2", CELLS, get_config, held_out=1000)

if __name__ == "__main__":
  runner.main(EXPERIMENT, __doc__)
