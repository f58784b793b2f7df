"""Which runs belong together: in one mean, in one figure, side by side."""

import collections
import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from isomax_jax.heads import HEADS
from isomax_jax.reporting._tables import unique
from isomax_jax.reporting.results import Results


def told_apart(runs: Sequence[Results]) -> list[Results]:
  """Name the experiment of each run's records after its variant.

  So runs are averaged where they differ in split and seed alone, whatever they were called.
  """
  return [
    dataclasses.replace(
      run,
      records=[dataclasses.replace(r, experiment=_variant(run, runs)) for r in run.records],
    )
    for run in runs
  ]


def _variant(run: Results, runs: Sequence[Results]) -> str:
  """Return the settings that not all runs of the run's head share, but for split and seed."""
  own = settings(run)
  rivals = [settings(other) for other in runs if other.head == run.head]
  return ", ".join(
    f"{key} {value}"
    for key, value in own.items()
    if key not in ("data.name", "seed") and any(rival.get(key, value) != value for rival in rivals)
  )


def by_variant(runs: Sequence[Results]) -> list[tuple[str, list[Results]]]:
  """Return the runs of each variant, so that no figure mixes different settings of a head."""
  variants = collections.defaultdict(list)
  for run in runs:
    variants[_variant(run, runs)].append(run)
  return list(variants.items())


def settings(run: Results) -> dict[str, str]:
  """Return the settings that decide what a run learns: not those of how it is computed."""
  texts = {key: text for key, text in flatten(run.config).items() if not key.startswith("run.")}
  # Older configs have neither.
  return {"model.zero_init_residual": "false"} | texts | {"objective.name": run.objective}


def side_by_side(runs: Sequence[Results]) -> list[Results]:
  """Sort runs so that those of one split and seed follow each other, SoftMax first."""
  splits = unique(run.split for run in runs)
  heads = list(HEADS)
  return sorted(
    runs,
    key=lambda run: (
      splits.index(run.split),
      heads.index(run.head) if run.head in heads else len(heads),
    ),
  )


def by_split(runs: Sequence[Results]) -> list[tuple[str, list[Results]]]:
  """Return the runs of each split and seed, under its name; runs are sorted by split."""
  return [(split, list(group)) for split, group in itertools.groupby(runs, lambda run: run.split)]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
  """Return the leaves of a tree by their path, as text."""
  leaves = {}
  for key, value in tree.items():
    if isinstance(value, Mapping):
      leaves |= flatten(value, f"{prefix}{key}.")
    else:
      text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
      leaves[f"{prefix}{key}"] = text
  return leaves
