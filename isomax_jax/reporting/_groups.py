"""Order and grouping of runs in tables and figures."""

import collections
import dataclasses
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from isomax_jax.heads import HEADS
from isomax_jax.reporting.results import Results

T = TypeVar("T")


def unique(values: Iterable[T]) -> list[T]:
  """Return each value once, in their order."""
  return list(dict.fromkeys(values))


def position(value: T, known: Iterable[T]) -> int:
  """Return where a value stands among the known ones; an unknown one comes last."""
  return [*known, value].index(value)


def grouped(values: Iterable[T], key: Callable[[T], Hashable]) -> dict[Any, list[T]]:
  """Return the values of each key, in their order."""
  groups = collections.defaultdict(list)
  for value in values:
    groups[key(value)].append(value)
  return dict(groups)


def name_variants(runs: Sequence[Results]) -> list[Results]:
  """Name the experiment of each run's records after its variant, to average splits and seeds."""
  named = []
  for run in runs:
    variant = _variant(run, runs)
    records = [dataclasses.replace(record, experiment=variant) for record in run.records]
    named.append(dataclasses.replace(run, records=records))
  return named


def _variant(run: Results, runs: Sequence[Results]) -> str:
  """Return the settings that not all runs of the run's head share, but for split and seed."""
  own = settings(run)
  rivals = [settings(other) for other in runs if other.head == run.head]
  return ", ".join(
    f"{key} {value}"
    for key, value in own.items()
    if key not in ("data.name", "seed") and any(rival.get(key, value) != value for rival in rivals)
  )


def by_variant(runs: Sequence[Results]) -> dict[str, list[Results]]:
  """Return the runs of each variant, so that no figure mixes different settings of a head."""
  return grouped(runs, lambda run: _variant(run, runs))


def by_split(runs: Sequence[Results]) -> dict[str, list[Results]]:
  """Return the runs of each split and seed."""
  return grouped(runs, lambda run: run.split)


def settings(run: Results) -> dict[str, str]:
  """Return the settings that decide what a run learns, without those of how it is computed."""
  texts = {key: text for key, text in flatten(run.config).items() if not key.startswith("run.")}
  # Older configs have neither.
  return {"model.zero_init_residual": "false"} | texts | {"objective.name": run.objective}


def side_by_side(runs: Sequence[Results]) -> list[Results]:
  """Sort runs by split and seed, and those of one by head, SoftMax first."""
  splits = unique(run.split for run in runs)
  return sorted(runs, key=lambda run: (splits.index(run.split), position(run.head, HEADS)))


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
