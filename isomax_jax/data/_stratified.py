"""A seeded choice of the same share of every class."""

import numpy as np


def stratified_choice(labels: np.ndarray, fraction: float, *, seed: int) -> np.ndarray:
  """Choose a share of each class, rounded to whole examples, by one seeded permutation.

  The permutation sorts raw 64-bit draws: NumPy promises never to change those, which it does
  not for ``Generator.permutation``, so a seed means the same examples under every version.

  Returns:
    Whether an example is chosen, shape ``[examples]``, bool.
  """
  order = np.argsort(np.random.PCG64(seed).random_raw(labels.size), kind="stable")
  chosen = np.zeros(labels.size, dtype=bool)
  for label in np.unique(labels):
    members = order[labels[order] == label]
    chosen[members[: round(fraction * members.size)]] = True
  return chosen
