"""Time training steps, beside PyTorch in the same run: images a second, and where the time goes.

SGD as the paper has it, on images that stay on the device. Each step draws, crops, flips and
normalises its batch as a training does; the bare step takes one batch, prepared beforehand, again
and again. What the former takes longer is the input's share of a step, and what IsoMax takes longer
than SoftMax is the head's. Convolutions compute in the dtype that is named; parameters, statistics,
head and loss are float32.

PyTorch trains the same networks in the same way: as it comes, with channels last, and compiled too,
on GPUs into CUDA graphs as well; in bfloat16 by autocast. float32 is what each framework makes of
it: on GPUs that have TF32, JAX multiplies in it and PyTorch convolves in it. All have turns, in
random order; what compiles does so before, and that is timed apart.

``--quick`` measures the small network alone, at batch 64 in float32, which is what a processor can
do in minutes. Where PyTorch, of the ``bench`` extra, is not installed, it is left out.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import _report, _steps, _timing
from experiments.benchmarks._peers import find_torch_device
from isomax_jax.data import resident

MODELS = ("resnet34", "densenet_bc_100", "resnet_small")
BATCH_SIZES = (64, 512)
DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32}
HEADS = {"IsoMax": "isomax", "SoftMax": "softmax"}
EXAMPLES = 10_000
BARE = ", bare step"
# How many times as fast as PyTorch at its best a GPU is to train, and the input's share of a step.
SPEEDUP, INPUT_SHARE = 1.5, 0.02


def main(arguments: Sequence[str] | None = None) -> None:
  """Print images a second of each network, batch size and dtype, and where the time goes."""
  packages = ("jax", "jaxlib", "flax", "optax", "torch")
  report, options = _report.parse("training", __doc__, packages, arguments, add_options=add_options)
  models = options.models or (MODELS[-1:] if options.quick else MODELS)
  batch_sizes = options.batch_sizes or (BATCH_SIZES[:1] if options.quick else BATCH_SIZES)
  dtypes = options.dtypes or (["float32"] if options.quick else list(DTYPES))
  on_cpu = jax.default_backend() == "cpu"
  steps = options.steps or (4 if on_cpu else 125)
  images, labels = draw_images()
  for model, batch_size, dtype in itertools.product(models, batch_sizes, dtypes):
    case = f"{model}, {dtype}, batch {batch_size}, {steps} steps a call"
    print(f"\n{case}: compiling, then {1 + options.repeats} turns of each", flush=True)
    programs = make_programs(
      model,
      resident.make_source(jnp.asarray(images), jnp.asarray(labels)),
      dtype=DTYPES[dtype],
      batch_size=batch_size,
      # Convolutions inside a scan are very slow on CPUs, and training there does without.
      per_dispatch=1 if on_cpu else steps,
      dispatches=steps if on_cpu else 1,
    )
    peers = make_peers(
      model, images, labels, bfloat16=dtype == "bfloat16", batch_size=batch_size, steps=steps
    )
    runs = {name: program.run for name, program in (programs | peers).items()}
    timings = _timing.measure(runs, repeats=options.repeats)
    report.rates(case, timings, steps * batch_size)
    for name, program in (programs | peers).items():
      if program.compile_seconds:
        print(f"{name}: compiled in {program.compile_seconds:.1f} s, before its first call")
        report.keep(case, f"{name}: compiling", "s", program.compile_seconds)
    report_shares(report, case, timings, target=None if on_cpu else INPUT_SHARE)
    if peers:
      report_speedup(report, case, timings, at_least=None if on_cpu else SPEEDUP)


def add_options(parser: argparse.ArgumentParser) -> None:
  """Add the benchmark's own options."""
  parser.add_argument("--quick", action="store_true", help="a few minutes on a processor")
  parser.add_argument("--models", nargs="+", choices=MODELS, help="networks; all")
  parser.add_argument(
    "--batch-sizes", nargs="+", type=_report.positive, help="images a step; 64 and 512"
  )
  parser.add_argument("--dtypes", nargs="+", choices=DTYPES, help="dtypes; both")
  parser.add_argument("--steps", type=_report.positive, help="steps a call; 4 on CPU, else 125")
  parser.add_argument("--repeats", type=_report.positive, default=10, help="timed calls of each")


def make_programs(
  model: str, source: resident.Source, *, batch_size: int, **options: Any
) -> dict[str, _steps.Steps]:
  """Compile the library's steps, of each head: from the resident images, and bare."""
  draws = resident.draws(len(source.labels), batch_size=batch_size, seed=0)
  first = next(draws)
  inputs = {
    "": _steps.Input(resident.fetch, source, draws, _steps.augment),
    BARE: _steps.fixed(resident.fetch(source, first), first),
  }
  return {
    name + suffix: _steps.make_steps(model, each, head=head, batch_size=batch_size, **options)
    for name, head in HEADS.items()
    for suffix, each in inputs.items()
  }


def make_peers(
  model: str,
  images: np.ndarray,
  labels: np.ndarray,
  *,
  bfloat16: bool,
  batch_size: int,
  steps: int,
) -> dict[str, _steps.Steps]:
  """Return PyTorch's steps with an IsoMax head, in each setting that works here."""
  device = find_torch_device("PyTorch")
  if device is None:
    return {}
  from experiments.benchmarks import _torch

  settings = {
    name: setting for name, setting in _torch.SETTINGS.items() if setting.only_on in (None, device)
  }
  peers = {}
  for (setting_name, setting), augmented in itertools.product(settings.items(), (True, False)):
    name = f"PyTorch, {setting_name}" + ("" if augmented else BARE)
    training = _torch.Training(
      model, setting, head="isomax", bfloat16=bfloat16, batch_size=batch_size, augmented=augmented,
      images=images, labels=labels, device=device,
    )  # fmt: skip
    start = time.perf_counter()
    try:
      training.run(1)
    except Exception as error:
      # What the compiler lacks on a machine comes as many kinds of errors.
      if setting.mode is None:
        raise
      print(f"{name}: left out, for {type(error).__name__}: {str(error).partition(chr(10))[0]}")
      continue
    seconds = time.perf_counter() - start if setting.mode is not None else 0.0
    peers[name] = _steps.Steps(functools.partial(training.run, steps), seconds)
  return peers


def report_shares(
  report: _report.Report,
  case: str,
  timings: Mapping[str, _timing.Timing],
  *,
  target: float | None,
) -> None:
  """Say which shares of an IsoMax step the head, by what it takes more, and the input have."""
  isomax = timings["IsoMax"].seconds
  head = 1 - timings["SoftMax"].seconds / isomax
  images = 1 - timings["IsoMax" + BARE].seconds / isomax
  report.share(case, "of a step, what IsoMax takes more than SoftMax", head)
  report.share(case, "of a step, drawing, gathering and augmenting", images, at_most=target)
  report.share(case, "of a step, the rest", 1 - head - images)


def report_speedup(
  report: _report.Report,
  case: str,
  timings: Mapping[str, _timing.Timing],
  *,
  at_least: float | None,
) -> None:
  """Say how many times as fast as PyTorch at its best the library trains, with input and bare."""
  for suffix, target in (("", at_least), (BARE, None)):
    peers = {
      name: timing
      for name, timing in timings.items()
      if name.startswith("PyTorch") and name.endswith(BARE) == bool(suffix)
    }
    best = min(peers, key=lambda name: peers[name].median)
    ratios = peers[best].seconds / timings["IsoMax" + suffix].seconds
    report.ratio(case, f"speed of IsoMax{suffix} / PyTorch's best", ratios, at_least=target)
    print(f"  PyTorch's best: {best}")


def draw_images() -> tuple[np.ndarray, np.ndarray]:
  """Draw images of noise, and labels: what they show makes no step faster or slower."""
  generator = np.random.default_rng(0)
  images = generator.integers(0, 256, (EXAMPLES, 32, 32, 3), np.uint8)
  return images, generator.integers(0, 10, EXAMPLES).astype(np.int32)


if __name__ == "__main__":
  main()
