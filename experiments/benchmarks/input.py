"""Time what it costs to get images into a step: resident, and streamed from records.

For each way, images a second without a network; then training steps with a batch that is always
the same, against steps whose batches are gathered from the device or read from disk. What these
take longer is the input's share of a step. Crops, flips and normalisation are in all of them.

The images are noise, which compresses worst. Run with ``python -m experiments.benchmarks.input``;
where what reads records is not installed, streaming is left out.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import _report, _steps, _timing
from isomax_jax import data
from isomax_jax.data import resident, stream
from isomax_jax.typing import Batch

NAME = "uniform_noise/32x32x3"
READERS = ("tensorflow_datasets", "array_record", "PIL", "grain")
BATCH = 64
# Of a step, on a GPU or TPU.
TARGET = 0.02


def main(arguments: Sequence[str] | None = None) -> None:
  """Print images a second of both ways and their share of a step of each network."""
  packages = ("jax", "jaxlib", "flax", "grain", "tensorflow-datasets")
  report, options = _report.parse("input", __doc__, packages, arguments, add_options=_add_options)
  on_cpu = jax.default_backend() == "cpu"
  # Convolutions inside a scan are very slow on CPUs, and training there does without.
  per_dispatch = 1 if on_cpu else 50
  dispatches = -(-options.steps // per_dispatch) if options.steps else (20 if on_cpu else 10)
  steps = dispatches * per_dispatch
  with tempfile.TemporaryDirectory() as temporary:
    source, batches = draw_noise(), None
    if not _timing.left_out("stream", *READERS):
      stored = data.open_split(NAME, "test", data_dir=options.data_dir or temporary)
      batches = stream.draws(stored, batch_size=BATCH, seed=0, workers=options.workers)
    _report_rates(report, source, batches, steps=steps, repeats=options.repeats)
    for model in options.models:
      runs = {
        name: _steps.make_steps(
          model,
          inputs,
          dtype=jnp.float32 if on_cpu else jnp.bfloat16,
          batch_size=BATCH,
          per_dispatch=per_dispatch,
          dispatches=dispatches,
        ).run
        for name, inputs in _inputs(source, batches).items()
      }
      case = f"{steps} steps of {model}, batch {BATCH}"
      timings = _timing.measure(runs, repeats=options.repeats)
      report.timings(case, timings)
      for name in list(timings)[1:]:
        share = 1 - timings["same batch"].seconds / timings[name].seconds
        report.share(case, f"{name}, of a step", share, at_most=None if on_cpu else TARGET)
    if batches is not None:
      batches.close()


def _add_options(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--models", nargs="+", default=["small_cnn", "resnet_small"], help="networks; two small ones"
  )
  parser.add_argument(
    "--steps",
    type=_report.positive,
    help="steps a run, up to the next multiple of 50 but on CPUs; 20 on CPU, else 500",
  )
  parser.add_argument("--repeats", type=_report.positive, default=5, help="timed calls of each")
  parser.add_argument("--workers", type=int, default=0, help="processes that read")
  parser.add_argument("--data-dir", help="where sets are kept; a temporary folder without")


def draw_noise() -> resident.Source:
  """Draw images like those of the set, which need not be prepared for it."""
  spec = data.get_spec(NAME)
  shape = (spec.splits["test"], *spec.example_shape)
  images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  return resident.make_source(jnp.asarray(images), jnp.zeros(len(images), jnp.int32))


def _report_rates(
  report: _report.Report,
  source: resident.Source,
  batches: Iterator[Batch] | None,
  *,
  steps: int,
  repeats: int,
) -> None:
  fetch = jax.jit(resident.fetch)
  draws = resident.draws(len(source.labels), batch_size=BATCH, seed=0)
  ways = {"resident": lambda: [fetch(source, draw) for draw in itertools.islice(draws, steps)]}
  if batches is not None:
    ways["stream"] = lambda: [next(batches).images[0, 0, 0] for _ in range(steps)]
  timings = _timing.measure(ways, repeats=repeats)
  report.rates(f"{steps} batches of {BATCH} without a network", timings, steps * BATCH)


def _inputs(source: resident.Source, batches: Iterator[Batch] | None) -> dict[str, _steps.Input]:
  """Return each kind of input."""
  draws = resident.draws(len(source.labels), batch_size=BATCH, seed=0)
  same = jax.tree.map(np.asarray, resident.fetch(source, next(draws)))
  inputs = {
    "same batch": _steps.Input(lambda batch, draw: batch, same, draws, _steps.augment),
    "resident": _steps.Input(resident.fetch, source, draws, _steps.augment),
  }
  if batches is not None:
    inputs["stream"] = _steps.Input(stream.fetch, (), batches, _steps.augment)
  return inputs


if __name__ == "__main__":
  main()
