"""How long detectors take beside the forward pass."""

import time
from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np

from isomax_jax.detectors import Classifier
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
  """Time detectors with the network's forward pass beside the pass alone, all in turns.

  A forward pass and a score are one program, compiled before, as they are where a detector is
  deployed.

  Args:
    detectors: Fitted detectors, by name.
    classifier: The network, its functions as ``jax.tree_util.Partial``.
    images: One batch of images as stored, uint8.
    rounds: How often each has a turn.
    calls: Batches a turn, dispatched one after the other without waiting.
    report: Told what is being done.

  Returns:
    Seconds an image of the forward pass, and from a detector's name to how many times as long the
    forward pass takes together with its score: 1 costs nothing. All are the least over rounds,
    which other work of the machine disturbs least.

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
  (classifier, params), images = place(
    (classifier, {name: fitted.params for name, fitted in detectors.items()}), images
  )
  programs = {None: jax.jit(_forward)} | {
    name: jax.jit(partial(_forward_and_score, fitted.detector.score))
    for name, fitted in detectors.items()
  }

  def run(name: str | None) -> float:
    constants = classifier, () if name is None else params[name]
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
  return least[None] / (calls * len(images)), {
    name: least[name] / least[None] for name in detectors
  }


def _forward(classifier, params, images):
  return classifier.outputs(to_pixels(images)).logits


def _forward_and_score(score, classifier, params, images):
  pixels = to_pixels(images)
  outputs = classifier.outputs(pixels)
  return outputs.logits, score(params, classifier, pixels, outputs)
