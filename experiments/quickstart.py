"""The quickstart's protocol with seven seeds: 21 pairs of a SoftMax and an IsoMax network.

    python -m experiments.quickstart --workdir runs/quickstart
    python -m experiments.score_histograms --workdir runs/quickstart

trains seven times as many networks as `make quickstart`, which takes half an hour on two cores, and
replaces experiments/results/quickstart.jsonl. What README's figure shows of the same networks is in
runs/quickstart/quickstart_scores.jsonl then, to be copied beside it.
"""

from pathlib import Path

import tyro

from experiments.tables import RESULTS
from isomax_jax.reporting import append_records
from isomax_jax.runs import quickstart

SEEDS = range(7)
DETECTORS = (None, "maximum_probability", "entropic_score")
METRICS = ("accuracy", "auroc", "tnr_at_tpr")


def main(workdir: Path = Path("runs/quickstart"), data_dir: Path | None = None) -> None:
  """Train what is missing and keep the records that the tables need.

  Args:
    workdir: Where the runs are.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
  """
  records = quickstart.run_jobs(
    quickstart.make_jobs(seeds=SEEDS, quick=False),
    workdir,
    experiment="quickstart",
    data_dir=data_dir,
    fresh=False,
    report=lambda message: None,
  )
  path = RESULTS / "quickstart.jsonl"
  path.unlink(missing_ok=True)
  append_records(path, [r for r in records if r.metric in METRICS and r.detector in DETECTORS])


if __name__ == "__main__":
  tyro.cli(main)
