"""Cost of detectors relative to the forward pass."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from isomax_jax.detectors import Classifier, Detector
from isomax_jax.evaluation.measure import Fitted
from isomax_jax.evaluation.predict import place, to_pixels


def relative_times(
  detectors: Mapping[str, Fitted],
  classifier: Classifier,
  images: np.ndarray,
  *,
  rounds: int = 5,
  calls: int = 2,
  report: Callable[[str], None] = lambda what: None,
) -> tuple[float, dict[str, float]]:
  """Time the forward pass with each detector's score against the forward pass alone.

  Pass and score are one program, compiled before it is timed, as where a detector is deployed. A
  timing is of some calls on one batch of stored images, uint8, dispatched without waiting.

  Returns:
    Seconds an image of the forward pass, and for each detector how many times as long the pass
    takes together with its score: 1 costs nothing. All are the least over rounds, which other work
    of the machine disturbs least.

  Example:
    >>> from isomax_jax.detectors import create_detector
    >>> from isomax_jax.typing import Outputs
    >>> from jax.tree_util import Partial
    >>> classifier = Classifier(Partial(lambda x: Outputs(x.reshape(len(x), -1), x)), None, {})
    >>> fitted = {"energy": Fitted(create_detector("energy"))}
    >>> seconds, times = relative_times(fitted, classifier, np.zeros((8, 2, 2, 1), np.uint8))
    >>> list(times)
    ['energy']
  """
  report("timing")
  params = {name: fitted.params for name, fitted in detectors.items()}
  (classifier, params), images = place((classifier, params), images)
  programs = {None: _make_program(None)} | {
    name: _make_program(fitted.detector) for name, fitted in detectors.items()
  }

  def run(name: str | None) -> float:
    constants = classifier, params.get(name, ())
    started = time.perf_counter()
    jax.block_until_ready([programs[name](*constants, images) for _ in range(calls)])
    return time.perf_counter() - started

  # What came before leaves its marks in caches and memory: a run that is not timed comes first,
  # and the order is another in every round.
  orders = np.random.default_rng(0)
  for name in programs:
    run(name)
  least = dict.fromkeys(programs, np.inf)
  for _ in range(rounds):
    for name in orders.permutation(np.array(list(programs), dtype=object)):
      run(name)
      least[name] = min(least[name], run(name))
  times = {name: least[name] / least[None] for name in detectors}
  return least[None] / (calls * len(images)), times


def _make_program(detector: Detector | None) -> Callable:
  @jax.jit
  def program(classifier, params, images):
    pixels = to_pixels(images)
    outputs = classifier.outputs(pixels)
    if detector is None:
      return outputs.logits
    return outputs.logits, detector.score(params, classifier, pixels, outputs)

  return program
