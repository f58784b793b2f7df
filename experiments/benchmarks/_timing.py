"""Side-by-side timing: the same calls in turn in one process, and the lines that report it."""

import importlib.util
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from isomax_jax.reporting.numbers import mean_text


class Timing(NamedTuple):
  """The wall time of one function's calls, in seconds.

  Attributes:
    first: The first call, which compiles where there is something to compile.
    seconds: The calls after it, shape ``[repeats]``.
  """

  first: float
  seconds: np.ndarray

  @property
  def median(self) -> float:
    """The median, which ratios are taken of: another process's burst does not move it."""
    return float(np.median(self.seconds))


def measure(functions: Mapping[str, Callable[[], Any]], *, repeats: int) -> dict[str, Timing]:
  """Time each function ``repeats`` times after a first call, all of them in turn.

  Taking turns spreads a slow spell of the machine over all of them, and their random order in each
  round what a call leaves behind for the next. A call ends when every JAX array it returned is
  ready.

  Args:
    functions: What to call, without arguments, by name.
    repeats: The number of timed calls of each after its first.

  Returns:
    The timing of each function, by name.
  """
  generator = np.random.default_rng(0)
  rounds = [
    {name: _seconds(functions[name]) for name in generator.permutation(list(functions))}
    for _ in range(repeats + 1)
  ]
  return {
    name: Timing(rounds[0][name], np.array([calls[name] for calls in rounds[1:]]))
    for name in functions
  }


def table(timings: Mapping[str, Timing]) -> str:
  """Format timings, one row each, in milliseconds."""
  width = max(map(len, timings))
  rows = [f"{'':{width}} {'n':>4} {'mean ± std, ms':>21} {'median':>10} {'min':>10} {'first':>10}"]
  for name, (first, seconds) in timings.items():
    n, ms = seconds.size, 1e3 * seconds
    mean = mean_text(ms.mean(), ms.std(ddof=1) if n > 1 else None, digits=3)
    rows.append(
      f"{name:{width}} {n:4} {mean:>21} {np.median(ms):10.3f} {ms.min():10.3f} {1e3 * first:10.3f}"
    )
  return "\n".join(rows)


def verdict(
  what: str, ratio: float, *, at_least: float | None = None, at_most: float | None = None
) -> str:
  """Say in one line whether a ratio meets its target; exactly one bound is to be given."""
  if (at_least is None) == (at_most is None):
    raise ValueError("exactly one of at_least and at_most must be given")
  sign, bound = (">=", at_least) if at_most is None else ("<=", at_most)
  met = ratio >= bound if at_most is None else ratio <= bound
  return f"{what}: {ratio:.2f}x, target {sign} {bound:g}x {'met' if met else 'NOT met'}"


def machine(*packages: str) -> str:
  """Describe the CPU, JAX's devices, Python and the versions of the packages, in one line."""
  devices = jax.devices()
  versions = [_version(package) for package in packages]
  return ", ".join(
    [
      processor(),
      f"JAX on {len(devices)} x {devices[0].device_kind}",
      f"Python {platform.python_version()}",
      *versions,
    ]
  )


def left_out(contender: str, *packages: str) -> bool:
  """Tell whether a contender needs a package that is missing, and print so in one line.

  Args:
    contender: What is left out.
    packages: The packages that it needs, as they are imported.
  """
  missing = [package for package in packages if importlib.util.find_spec(package) is None]
  if missing:
    print(f"{contender}: left out, for lack of {', '.join(missing)}")
  return bool(missing)


def _version(package: str) -> str:
  try:
    return f"{package} {version(package)}"
  except PackageNotFoundError:
    return f"no {package}"


def _seconds(function: Callable[[], Any]) -> float:
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def processor() -> str:
  """Name the processor, with the number of its cores that are there."""
  information = Path("/proc/cpuinfo")
  lines = information.read_text().splitlines() if information.exists() else []
  names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
  name = names[0] if names else platform.processor() or platform.machine()
  return f"{name} ({os.cpu_count()} cores)"
