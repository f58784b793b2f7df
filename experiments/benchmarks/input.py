"""Time what it costs to get images into a step: resident, and streamed from records.

For each way, images a second without a network; then training steps with a batch that is always
the same, against steps whose batches are gathered from the device or read from disk. What these
take longer is the input's share of a step. Crops, flips and normalisation are in all of them.

The images are noise, which compresses worst. Run with ``python -m experiments.benchmarks.input``;
where what reads records is not installed, streaming is left out.
"""

import argparse
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import _timing
from isomax_jax import data
from isomax_jax.data import resident, stream
from isomax_jax.models import create_model
from isomax_jax.training import OptimConfig, classification, create_state, parallel, train_step
from isomax_jax.training.optim import learning_rates, sgd
from isomax_jax.typing import Batch

NAME = "uniform_noise/32x32x3"
READERS = ("tensorflow_datasets", "array_record", "PIL", "grain")
BATCH = 64
TARGET = 0.02


def main() -> None:
  """Print images a second of both ways and their share of a step of each network."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--models", nargs="+", default=["small_cnn", "resnet_small"])
  parser.add_argument("--steps", type=int, default=0, help="steps a run; 0: 20 on CPU, else 500")
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--workers", type=int, default=0, help="processes that read")
  parser.add_argument("--data-dir", help="where sets are kept; a temporary folder without")
  arguments = parser.parse_args()
  on_cpu = jax.default_backend() == "cpu"
  steps = arguments.steps or (20 if on_cpu else 500)
  print(_timing.machine("jax", "grain", "tensorflow-datasets"))
  with tempfile.TemporaryDirectory() as temporary:
    source, batches = _draw_noise(), None
    if not _timing.left_out("stream", *READERS):
      stored = data.open_split(NAME, "test", data_dir=arguments.data_dir or temporary)
      batches = stream.draws(stored, batch_size=BATCH, seed=0, workers=arguments.workers)
    _print_rates(source, batches, steps=steps, repeats=arguments.repeats)
    for model in arguments.models:
      runs = _make_runs(model, source, batches, steps=steps, per_dispatch=1 if on_cpu else 50)
      timings = _timing.measure(runs, repeats=arguments.repeats)
      print(f"\n{steps} steps of {model}, batch {BATCH}")
      print(_timing.table(timings))
      for name in list(timings)[1:]:
        share = 1 - timings["same batch"].median / timings[name].median
        met = "met" if share <= TARGET else "NOT met"
        print(f"{name}: {share:.1%} of a step, target on a GPU <= {TARGET:.0%}: {met}")
    if batches is not None:
      batches.close()


def _draw_noise() -> resident.Source:
  """Draw images like those of the set, which need not be prepared for it."""
  spec = data.get_spec(NAME)
  shape = (spec.splits["test"], *spec.image_shape)
  images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  return resident.make_source(jnp.asarray(images), jnp.zeros(len(images), jnp.int32))


def _print_rates(
  source: resident.Source, batches: Iterator[Batch] | None, *, steps: int, repeats: int
) -> None:
  fetch = jax.jit(resident.fetch)
  draws = resident.draws(len(source.labels), batch_size=BATCH, seed=0)
  ways = {"resident": lambda: [fetch(source, draw) for draw in itertools.islice(draws, steps)]}
  if batches is not None:
    ways["stream"] = lambda: [next(batches).images[0, 0, 0] for _ in range(steps)]
  timings = _timing.measure(ways, repeats=repeats)
  print(f"\n{steps} batches of {BATCH} without a network")
  print(_timing.table(timings))
  for name, timing in timings.items():
    print(f"{name}: {steps * BATCH / timing.median:,.0f} images/s")


def _make_runs(
  model_name: str,
  source: resident.Source,
  batches: Iterator[Batch] | None,
  *,
  steps: int,
  per_dispatch: int,
) -> dict[str, Callable[[], Any]]:
  """Return functions that train some steps, from each kind of input."""
  draws = resident.draws(len(source.labels), batch_size=BATCH, seed=0)
  same = jax.tree.map(np.asarray, resident.fetch(source, next(draws)))
  inputs = {
    "same batch": (lambda batch, draw: batch, same, draws),
    "resident": (resident.fetch, source, draws),
  }
  if batches is not None:
    inputs["stream"] = (stream.fetch, (), batches)
  return {
    name: functools.partial(
      _run(model_name, fetch, inputs_source, drawn, per_dispatch=per_dispatch), steps
    )
    for name, (fetch, inputs_source, drawn) in inputs.items()
  }


def _run(
  model_name: str, fetch: Any, source: Any, draws: Iterator[Any], *, per_dispatch: int
) -> Callable[[int], Any]:
  """Return a function that trains a number of steps, as the training loop does."""
  spec = data.get_spec("cifar10")
  normalize = data.normalizer(spec)

  def prepare(key: jax.Array, batch: Batch) -> jax.Array:
    keys = data.example_keys(key, batch.positions)
    images = data.random_flip(keys, data.random_crop(keys, batch.images, padding=4))
    return normalize(data.to_pixels(images))

  dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
  step = functools.partial(train_step, objective=classification(prepare, entropic_scale=10.0))
  runner = parallel.make_runner(
    step, fetch, strategy="sharded", devices=jax.devices()[:1], batch_size=BATCH
  )
  model = create_model(model_name, 10, dtype=dtype)
  optim = OptimConfig(batch_size=BATCH)
  rates = learning_rates(optim, total_steps=10**6)
  state = runner.replicate(
    create_state(model, sgd(optim), jax.random.key(0), spec.image_shape, learning_rates=rates)
  )
  key, source = runner.replicate(jax.random.key(1)), runner.replicate(source)
  compiled = None

  def run(steps: int) -> Any:
    nonlocal state, compiled
    for _ in range(steps // per_dispatch):
      drawn = jax.tree.map(lambda *leaves: np.stack(leaves), *itertools.islice(draws, per_dispatch))
      drawn = runner.place(drawn)
      if compiled is None:
        compiled = runner.lower(state, source, drawn, key).compile()
      state, metrics = compiled(state, source, drawn, key)
    return metrics

  return run


if __name__ == "__main__":
  main()
