"""Time the entropic score on top of a network's forward pass, in one run.

Run with ``python -m experiments.benchmarks.scoring``.
"""

import functools
from collections.abc import Sequence

import jax

from experiments.benchmarks import _report, _timing
from isomax_jax.models import create_model
from isomax_jax.scores import entropic_score
from isomax_jax.typing import Outputs

BATCH, REPEATS = 256, 300
TARGET = 0.01


def main(arguments: Sequence[str] | None = None) -> None:
  """Print the times of the pass, of the pass with the score, and of the score by itself."""
  report, _ = _report.parse("scoring", __doc__, ("jax", "jaxlib", "flax"), arguments)
  model = create_model("small_cnn", num_classes=10)
  images = jax.random.uniform(jax.random.key(0), (BATCH, 28, 28, 1))
  variables = jax.jit(functools.partial(model.init, train=False))(jax.random.key(1), images)

  def forward(variables: dict, images: jax.Array) -> jax.Array:
    outputs: Outputs = model.apply(variables, images, train=False)
    return outputs.logits

  def forward_and_score(variables: dict, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    logits = forward(variables, images)
    return logits, entropic_score(logits)

  alone, score = jax.jit(forward), jax.jit(entropic_score)
  logits = alone(variables, images)
  functions = {
    "forward": functools.partial(alone, variables, images),
    "forward + entropic score": functools.partial(jax.jit(forward_and_score), variables, images),
    "entropic score": functools.partial(score, logits),
  }
  timings = _timing.measure(functions, repeats=REPEATS)
  case = f"small_cnn, batch {BATCH}, {logits.shape[-1]} classes, images {images.shape[1:]}"
  report.timings(case, timings)

  forward_time, both, by_itself = timings.values()
  # Over rounds, in each of which every contender has one turn.
  overheads = both.seconds / forward_time.seconds - 1
  report.share(case, "overhead of the score", overheads, at_most=TARGET)
  shares = by_itself.seconds / forward_time.seconds
  report.share(case, "the score by itself, its own dispatch included, of a forward pass", shares)


if __name__ == "__main__":
  main()
