"""ACET: adversarial confidence-enhanced training on noise."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from isomax_jax import _checks
from isomax_jax.losses import scaled_cross_entropy
from isomax_jax.training.objectives._noise import low_frequency_noise
from isomax_jax.training.objectives.base import (
  APART,
  Losses,
  Network,
  Objective,
  ObjectiveConfig,
  Prepare,
)
from isomax_jax.typing import Batch, Outputs, Preprocessing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Acet(ObjectiveConfig):
  """Classification, and low confidence in adversarial noise."""

  name: ClassVar[str] = "acet"
  label: ClassVar[str] = "ACET"

  epsilon: float = 0.3
  """How far the search may change a pixel of [0, 1]."""
  steps: int = 40
  """Steps of the search, each a forward and a backward pass."""

  def __post_init__(self):
    _checks.positive("objective.epsilon", self.epsilon)
    _checks.count("objective.steps", self.steps)

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective; see :func:`adversarial_confidence`."""

    def noise(key: jax.Array, batch: Batch) -> jax.Array:
      return low_frequency_noise(key, batch._replace(images=preprocessing.to_pixels(batch.images)))

    return adversarial_confidence(
      preprocessing.prepare,
      noise,
      preprocessing.normalize,
      entropic_scale=entropic_scale,
      epsilon=self.epsilon,
      steps=self.steps,
    )


def adversarial_confidence(
  prepare: Prepare,
  noise: Prepare,
  normalize: Callable[[jax.Array], jax.Array],
  *,
  entropic_scale: float,
  epsilon: float = 0.3,
  steps: int = 40,
) -> Objective:
  r"""Make the objective of ACET: low confidence in noise that maximises it.

  The mean over the batch of the cross-entropy, plus that over as many noise images of

  .. math::
    \max_{\lVert u - z \rVert_\infty \le \epsilon} \,
    \max_j \log \operatorname{softmax}(E_s L(u))_j

  where the outer maximum is sought by projected signed gradient ascent over pixels of [0, 1], from
  a random start, in steps of ``epsilon / steps``; the best point counts. The search uses
  BatchNorm's running statistics; known images and noise then share one forward pass of training,
  as in the authors' code. That divides both sums by the number of all images together, which is
  the same up to a factor of two.

  Args:
    prepare: Augments and normalises known images.
    noise: Random key and batch to noise images, pixels of [0, 1].
    normalize: Pixels to the network's input.
    entropic_scale: The paper's :math:`E_s`; 1 for a softmax head.
    epsilon: Largest change of a pixel; the default is the authors'.
    steps: Steps of the search; the default is their paper's (their code's is 5).

  Example:
    >>> objective = adversarial_confidence(
    ...     lambda key, batch: batch.images, lambda key, batch: 0.5 * batch.images,
    ...     lambda pixels: pixels, entropic_scale=1.0, epsilon=0.25, steps=5)
    >>> infer = lambda x: Outputs(logits=x.reshape(-1, 2), features=x)
    >>> network = Network(lambda x: (infer(x), {}), infer)
    >>> batch = Batch(jnp.array([[[[0.0, 1.0]]]]), jnp.array([1]), positions=jnp.array([0]))
    >>> print(objective(network, jax.random.key(0), batch).logits)  # Of the known image alone.
    [[0. 1.]]

  References:
    Hein et al., *Why ReLU Networks Yield High-Confidence Predictions Far Away From the Training
    Data and How to Mitigate the Problem*, Section 4.
  """
  _checks.positive("epsilon", epsilon)
  _checks.positive("steps", steps)

  def confidence(outputs: Outputs) -> jax.Array:
    # The likeliest class by its index: jaxlib 0.10 gives a wrong gradient of the maximum over
    # log_softmax in a program for several devices (0.12 does not).
    likeliest = jnp.argmax(outputs.logits, axis=-1)
    return -scaled_cross_entropy(outputs.logits, likeliest, entropic_scale=entropic_scale)

  def objective(network: Network, key: jax.Array, batch: Batch) -> Losses:
    known = len(batch.labels)
    noise_key, start_key = jax.random.split(jax.random.fold_in(key, APART))
    seeds = noise(noise_key, batch)
    found = maximize(
      lambda pixels: confidence(network.infer(normalize(pixels))),
      seeds,
      start=seeds + _random_start(start_key, batch.positions, seeds.shape[1:], epsilon),
      epsilon=epsilon,
      steps=steps,
    )
    outputs, batch_stats = network.train(jnp.concatenate([prepare(key, batch), normalize(found)]))
    logits = outputs.logits[:known]
    values = scaled_cross_entropy(logits, batch.labels, entropic_scale=entropic_scale)
    penalties = confidence(outputs._replace(logits=outputs.logits[known:]))
    return Losses(values + penalties, logits, batch.labels, batch_stats)

  return objective


def maximize(
  function: Callable[[jax.Array], jax.Array],
  seeds: jax.Array,
  *,
  start: jax.Array,
  epsilon: float,
  steps: int,
) -> jax.Array:
  """Return the best image near each seed, the seed included, by projected signed gradient ascent.

  ``function`` maps images, pixels of [0, 1], to one value each. The search stays within ``epsilon``
  of the seed; ``start`` is clipped to that. No gradient flows through the result.
  """
  low, high = jnp.maximum(seeds - epsilon, 0), jnp.minimum(seeds + epsilon, 1)

  def better(images, values, best, best_values):
    improved = values > best_values
    best = jax.vmap(jnp.where)(improved, images, best)
    return best, jnp.where(improved, values, best_values)

  def climb(_, carry):
    images, best, best_values = carry
    values, pullback = jax.vjp(function, images)
    (gradient,) = pullback(jnp.ones_like(values))  # Of each image's value by its own pixels.
    best, best_values = better(images, values, best, best_values)
    images = jnp.clip(images + epsilon / steps * jnp.sign(gradient), low, high)
    return images, best, best_values

  carry = (jnp.clip(start, low, high), seeds, function(seeds))
  images, best, best_values = jax.lax.fori_loop(0, steps, climb, carry)
  best, _ = better(images, function(images), best, best_values)
  return jax.lax.stop_gradient(best)


def _random_start(
  key: jax.Array, positions: jax.Array, shape: tuple[int, ...], epsilon: float
) -> jax.Array:
  """Draw uniform changes, of a random magnitude for each position in the global batch."""

  def draw(position):
    size_key, pixel_key = jax.random.split(jax.random.fold_in(key, position))
    pixels = jax.random.uniform(pixel_key, shape, minval=-epsilon, maxval=epsilon)
    return jax.random.uniform(size_key) * pixels

  return jax.vmap(draw)(positions)
