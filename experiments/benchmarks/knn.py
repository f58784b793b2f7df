"""Measure the time and memory of kNN's score against its peer, in one run.

Peer: scikit-learn's NearestNeighbors by brute force. Times are taken in turns in one process;
memory is the rise of the resident set's peak over one call, in a process of its own that holds the
training features already.

Run with ``python -m experiments.benchmarks.knn``; it needs Linux and the ``bench`` extra.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import NearestNeighbors

from experiments.benchmarks import _memory, _report, _timing
from isomax_jax.detectors import create_detector
from isomax_jax.typing import Outputs

EXAMPLES, WIDTH, BATCH, REPEATS = 50_000, 512, 256, 10


def main(arguments: Sequence[str] | None = None) -> None:
  """Print times, memory and how far the distances are from each other's."""
  report, _ = _report.parse(
    "knn", __doc__, ("jax", "jaxlib", "scikit-learn"), arguments, on_host=True
  )
  case = f"score of {BATCH} against {EXAMPLES:,} × {WIDTH} training features, float32, k = 50"
  prepares = {"isomax_jax": prepare_detector, "scikit-learn": prepare_scikit_learn}
  calls = {name: prepare() for name, prepare in prepares.items()}
  timings = _timing.measure(calls, repeats=REPEATS)
  report.timings(case, timings)
  usages = {name: _memory.measure(prepare, repeats=1) for name, prepare in prepares.items()}
  report.usages(case, usages, repeats=1, times=False)
  own, peer = timings.values()
  report.ratio(case, "scikit-learn / isomax_jax", peer.seconds / own.seconds)
  memory = usages["scikit-learn"].megabytes / usages["isomax_jax"].megabytes
  report.ratio(case, "memory of scikit-learn / of isomax_jax", memory)
  exact = _exact(rows=16)
  for name, usage in usages.items():
    error = np.max(np.abs(usage.result[: exact.size] / exact - 1))
    print(f"largest relative error of {name}'s distances: {error:.0e}")


def prepare_detector() -> Callable[[], Any]:
  """Return the library's score, compiled, of the batch."""
  training, queries = draw()
  detector = create_detector("knn")
  labels, logits = jnp.zeros(EXAMPLES, jnp.int32), jnp.zeros((EXAMPLES, 2))
  params = detector.fit(None, [(None, labels, Outputs(logits, features=training))])
  outputs = Outputs(jnp.zeros((BATCH, 2)), features=jnp.asarray(queries))
  score = jax.jit(lambda params, outputs: detector.score(params, None, None, outputs))
  compiled = score.lower(params, outputs).compile()
  return functools.partial(compiled, params, outputs)


def prepare_scikit_learn() -> Callable[[], np.ndarray]:
  """Return the peer's score of the batch."""
  training, queries = (_normalize(features) for features in draw())
  neighbours = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(training)
  return lambda: -neighbours.kneighbors(queries)[0][:, -1]


def draw() -> tuple[np.ndarray, np.ndarray]:
  """Draw rectified training features and a batch, around the means of 10 classes."""
  random = np.random.default_rng(0)
  means = random.standard_normal((10, WIDTH), np.float32)

  def features(examples: int) -> np.ndarray:
    noise = random.standard_normal((examples, WIDTH), np.float32)
    return np.maximum(means[random.integers(0, 10, examples)] + 0.5 * noise, 0).astype(np.float32)

  return features(EXAMPLES), features(BATCH)


def _exact(*, rows: int) -> np.ndarray:
  """Return the first scores by direct differences in float64."""
  training, queries = (_normalize(np.float64(features)) for features in draw())
  return np.array(
    [-np.sort(np.linalg.norm(training - query, axis=1))[49] for query in queries[:rows]]
  )


def _normalize(features: np.ndarray) -> np.ndarray:
  return features / np.linalg.norm(features, axis=1, keepdims=True)


if __name__ == "__main__":
  main()
