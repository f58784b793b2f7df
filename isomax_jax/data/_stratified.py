"""A seeded choice of examples that takes the same share of every class."""

import numpy as np


def stratified_choice(labels: np.ndarray, fraction: float, *, seed: int) -> np.ndarray:
  """Choose a share of each class by one seeded permutation.

  The permutation sorts raw 64-bit draws: NumPy promises never to change those, which it does
  not for ``Generator.permutation``, so a seed means the same examples under every version.

  Args:
    labels: Class of each example, shape ``[examples]``, integer.
    fraction: Share of each class to choose, rounded to whole examples.
    seed: Seed of the permutation, a non-negative integer.

  Returns:
    Whether an example is chosen, shape ``[examples]``, bool.

  Example:
    >>> chosen = stratified_choice(np.array([0, 0, 0, 0, 1, 1]), 0.5, seed=0)
    >>> int(chosen[:4].sum()), int(chosen[4:].sum())
    (2, 1)
  """
  order = np.argsort(np.random.PCG64(seed).random_raw(labels.size), kind="stable")
  chosen = np.zeros(labels.size, dtype=bool)
  for label in np.unique(labels):
    members = order[labels[order] == label]
    chosen[members[: round(fraction * members.size)]] = True
  return chosen
