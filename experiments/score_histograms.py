"""Entropic scores of known and unknown images as counts, all networks of a head together.

    isomax-jax quickstart
    python -m experiments.score_histograms --workdir runs/quickstart

Each network's entropies are set against the one at its own threshold, which accepts 95 % of its
known test images: so they share an axis, on which every threshold is at zero.
"""

import collections
import dataclasses
import datetime
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from isomax_jax._files import read_json_lines, write_atomically
from isomax_jax.decision import choose_threshold
from isomax_jax.evaluation.measure import TEST
from isomax_jax.metrics import auroc
from isomax_jax.reporting import Results, read_results

NAME = "quickstart_scores"
DETECTOR = "entropic_score"
_BINS = 48


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
  """How the networks of a head score the images of a set.

  Attributes:
    head: Name of the head.
    unknown: Name of the unknown set, alike in every split; None for the known test images.
    model: Name of the network.
    epochs: Epochs of training.
    in_sets: References of the known sets.
    seeds: Seeds; there is a network for each of them and each known set.
    edges: Edges of the bins, of the logarithm of the entropy at a network's threshold over an
      image's; one edge is 0, and below it an image is rejected.
    counts: Images in each bin; the first and the last hold all that lie beyond them.
    auroc: Mean over the networks; None for the known test images.
    device: The device that trained, in words.
    versions: Version of each library in training.
    git_commit: Commit of the code that trained; None where it is not known.
    time: When the scores were counted, ISO 8601.
  """

  head: str
  unknown: str | None
  model: str
  epochs: float
  in_sets: Sequence[str]
  seeds: Sequence[int]
  edges: Sequence[float]
  counts: Sequence[int]
  auroc: float | None
  device: str
  versions: Mapping[str, str]
  git_commit: str | None
  time: str

  @property
  def shares(self) -> np.ndarray:
    """The share of the images in each bin."""
    return np.divide(self.counts, sum(self.counts))

  @property
  def rejected(self) -> float:
    """The share of the images that score below the threshold of their network."""
    return float(self.shares[: list(self.edges).index(0)].sum())


def make_histograms(runs: Sequence[Results]) -> list[ScoreHistogram]:
  """Count the scores of evaluated runs: of each head the known test images and each unknown set.

  Args:
    runs: The runs, of each head one for each known set and seed.

  Returns:
    A histogram a head and set, the known one first.

  Raises:
    ValueError: If a head lacks a network of a known set and seed or has two, networks, options of
      the training, versions, device or commit of the runs differ, a run lacks scores of a set, or
      a threshold is 0.
  """
  in_sets = list(dict.fromkeys(run.in_set for run in runs))
  seeds = sorted({run.seed for run in runs})
  trained = [
    {"model": run.model, "epochs": run.config["optim"]["epochs"], **run.environment} for run in runs
  ]
  for key, value in trained[0].items():
    others = [each[key] for each in trained if each[key] != value]
    if others:
      raise ValueError(f"runs must have one {key}, got {value} and {others[0]}")
  first, *others = map(_training, runs)
  for other in others:
    if other != first:
      keys = [key for key in first | other if first.get(key) != other.get(key)]
      raise ValueError(f"runs must be trained alike, but differ in {', '.join(keys)}")
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  shared = {**trained[0], "in_sets": in_sets, "seeds": seeds, "time": now}
  histograms = []
  for head in dict.fromkeys(run.head for run in runs):
    members = [run for run in runs if run.head == head]
    networks = sorted((run.in_set, run.seed) for run in members)
    if networks != sorted(itertools.product(in_sets, seeds)):
      raise ValueError(
        f"runs must hold one {head} network for each of {in_sets} and seeds {seeds}, got {networks}"
      )
    values, aurocs = collections.defaultdict(list), collections.defaultdict(list)
    for run in members:
      known = run.scores_of(DETECTOR, TEST)
      threshold = choose_threshold(known)
      if threshold >= 0:
        raise ValueError(f"{run.path}: the threshold must be below 0, got {threshold}")
      values[None].append(_relative(known, threshold))
      for out_set in run.out_sets:
        scores = run.scores_of(DETECTOR, out_set)
        values[run.unknown(out_set)].append(_relative(scores, threshold))
        aurocs[run.unknown(out_set)].append(auroc(known, scores))
    for unknown, each in values.items():
      if len(each) != len(members):
        raise ValueError(
          f"all {len(members)} {head} networks must have scores of {unknown}, got {len(each)}"
        )
    pooled = {unknown: np.concatenate(each) for unknown, each in values.items()}
    edges = _edges(np.concatenate(list(pooled.values())))
    for unknown, of_set in pooled.items():
      counts, _ = np.histogram(np.clip(of_set, edges[0], edges[-1]), edges)
      histograms.append(
        ScoreHistogram(
          head=head, unknown=unknown, edges=edges.tolist(), counts=counts.tolist(),
          auroc=None if unknown is None else float(np.mean(aurocs[unknown])), **shared,
        )
      )  # fmt: skip
  return histograms


def _training(run: Results) -> dict[str, Any]:
  """Return what may not differ between runs of one figure: all but head, known set and seed."""
  varied = ("data.name", "model.head", "model.entropic_scale", "seed")
  return {
    f"{section}.{key}": value
    for section, options in run.config.items()
    if isinstance(options, Mapping) and section != "run"
    for key, value in options.items()
    if f"{section}.{key}" not in varied
  }


def write_histograms(path: Path, histograms: Sequence[ScoreHistogram]) -> None:
  """Write histograms to a file, one JSON line each, in place of what it held."""
  lines = [json.dumps(dataclasses.asdict(h), ensure_ascii=False) + "\n" for h in histograms]
  write_atomically(path, "".join(lines).encode())


def read_histograms(path: Path) -> list[ScoreHistogram]:
  """Read the histograms of a file."""
  return [ScoreHistogram(**line) for line in read_json_lines(path)]


def _relative(scores: np.ndarray, threshold: float) -> np.ndarray:
  """Return the logarithm of threshold over score: both are minus an entropy, which may be 0."""
  with np.errstate(divide="ignore"):
    return np.log(-threshold) - np.log(-scores)


def _edges(values: np.ndarray) -> np.ndarray:
  """Return edges of equal bins, one of them 0, from the lowest to the highest .1 % of values."""
  low, high = np.quantile(values[np.isfinite(values)], [0.001, 0.999])
  width = (high - low) / _BINS
  return width * np.arange(np.floor(low / width), np.ceil(high / width) + 1)


def main(workdir: Path = Path("runs/quickstart")) -> None:
  """Count the scores of every run of a folder.

  Args:
    workdir: The folder of runs; the histograms go there too: quickstart_scores.jsonl.
  """
  run_dirs = sorted(path.parent for path in workdir.glob("*/scores.npz"))
  if not run_dirs:
    raise SystemExit(f"{workdir} has no run with scores: isomax-jax quickstart makes some")
  path = workdir / f"{NAME}.jsonl"
  write_histograms(path, make_histograms([read_results(run_dir) for run_dir in run_dirs]))
  print(f"histograms: {path}")


if __name__ == "__main__":
  tyro.cli(main)
