"""What a benchmark found: printed as it is measured, and kept as a line a figure when asked to.

The lines are what docs/performance.md is generated from; see `experiments.performance`.
"""

import argparse
import dataclasses
import datetime
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from experiments.benchmarks import _memory, _timing
from isomax_jax import _checks
from isomax_jax._files import append_json_lines, one_line, read_json_lines
from isomax_jax.reporting.numbers import mean_text
from isomax_jax.runs.environment import environment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
  """One figure.

  Attributes:
    benchmark: The benchmark's name.
    case: What was the same for all that were compared.
    what: What was measured, or which two were divided.
    unit: ``"s"``, ``"images/s"``, ``"MB"``, or ``"x"`` of a ratio.
    value: The mean; of a ratio and of a share the median over rounds.
    std: Standard deviation over repetitions; None where there is none to give.
    n: Number of repetitions.
    target: What the figure is to be, such as ``"<= 1.1"``, if anything.
    met: Whether it is; None without a target.
    platform: ``"cpu"``, ``"gpu"`` or ``"tpu"``.
    device: What it was measured on.
    versions: Python's and those of the benchmark's packages, where they are installed.
    git_commit: Commit of the code, if known.
    time: When the run began that it is of, ISO 8601 in UTC.

  Raises:
    ValueError: If a field has another type, a number is not finite, ``n`` is not positive, or a
      target is not judged.
  """

  benchmark: str
  case: str
  what: str
  unit: str
  value: float
  std: float | None
  n: int
  target: str | None
  met: bool | None
  platform: Literal["cpu", "gpu", "tpu"]
  device: str
  versions: Mapping[str, str]
  git_commit: str | None
  time: str

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      _checks.typed(field.name, value, field.type)
      if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} must be finite, got {value}")
    _checks.count("n", self.n)
    if (self.target is None) != (self.met is None):
      raise ValueError(f"met must say whether there is a target, got {self.target!r}, {self.met!r}")


class Report:
  """Prints what a benchmark measures, and appends each figure to a file if there is one."""

  def __init__(
    self, benchmark: str, packages: Sequence[str], *, output: Path | None, on_host: bool = False
  ):
    """Print the machine.

    Args:
      benchmark: The benchmark's name.
      packages: Those that take part, whose versions are kept.
      output: File that figures are appended to; None keeps none.
      on_host: Whether the processor is measured even where there is an accelerator.
    """
    print(_timing.machine(*packages))
    self._output = output
    platform_name = "cpu" if on_host else jax.default_backend()
    busy = os.getloadavg()[0]
    if busy > 0.5:
      print(f"load of the last minute: {busy:.1f}; figures scatter where others are at work")
    versions = {package: found for package in packages if (found := _version(package))}
    self._common = {
      "benchmark": benchmark,
      "platform": platform_name,
      "device": _timing.processor() if platform_name == "cpu" else jax.devices()[0].device_kind,
      "versions": {"python": platform.python_version(), **versions},
      "git_commit": environment()["git_commit"],
      "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }

  def timings(self, case: str, timings: Mapping[str, _timing.Timing]) -> None:
    """Print a table of timings under the name of what they share, and keep a figure each."""
    print(f"\n{case}")
    print(_timing.table(timings))
    for name, timing in timings.items():
      self.keep(case, name, "s", timing.seconds)

  def rates(self, case: str, timings: Mapping[str, _timing.Timing], images: int) -> None:
    """Print images a second of calls that take a number of images each, and keep a figure each."""
    width = max(map(len, timings))
    print(f"\n{case}")
    print(f"{'':{width}} {'n':>4} {'mean ± std, images/s':>24} {'first call, s':>14}")
    for name, (first, seconds) in timings.items():
      rates = images / seconds
      mean = mean_text(rates.mean(), statistics.stdev(rates) if rates.size > 1 else None)
      print(f"{name:{width}} {rates.size:4} {mean:>24} {first:14.2f}")
      self.keep(case, name, "images/s", rates)

  def usages(
    self, case: str, usages: Mapping[str, _memory.Usage], *, repeats: int, times: bool = True
  ) -> None:
    """Print a table of times and peaks of memory, and keep a figure of each."""
    print(f"\n{case}; n = {repeats}")
    print(_memory.table(usages))
    for name, usage in usages.items():
      self._append(case, f"peak of {name}", "MB", usage.megabytes, None, 1, None, None)
      if times:
        self._append(case, name, "s", usage.seconds, None, repeats, None, None)

  def ratio(
    self,
    case: str,
    what: str,
    ratios: Any,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
  ) -> None:
    """Print the median of a ratio's rounds, with its target if it has one, and keep it."""
    ratios = np.atleast_1d(ratios)
    ratio = float(np.median(ratios))
    if at_least is at_most is None:
      print(f"{what}: {ratio:.2f}x")
      target = met = None
    else:
      print(_timing.verdict(what, ratio, at_least=at_least, at_most=at_most))
      target, met = (
        (f"<= {at_most:g}", ratio <= at_most)
        if at_least is None
        else (f">= {at_least:g}", ratio >= at_least)
      )
    self._append(case, what, "x", ratio, None, ratios.size, target, met)

  def share(self, case: str, what: str, shares: Any, *, at_most: float | None = None) -> None:
    """Print the median of a share's rounds, with its target if it has one, and keep percent.

    Their mean would be too large: times that scatter make a mean of their ratios grow. Where the
    rounds cannot tell it from nothing, that is said.
    """
    percent = 100 * np.atleast_1d(shares)
    share, std = float(np.median(percent)), _deviation(percent)
    target = met = None
    verdict = f" (n {percent.size})" if std is not None else ""
    if at_most is not None:
      target, met = f"<= {100 * at_most:g}", share <= 100 * at_most
      verdict += f", target {target} % {'met' if met else 'NOT met'}"
    if is_nothing(share, std, percent.size):
      verdict += ", not told from 0"
    print(f"{what}: {mean_text(share, std)} %{verdict}")
    self._append(case, what, "%", share, std, percent.size, target, met)

  def keep(
    self,
    case: str,
    what: str,
    unit: str,
    values: Any,
    *,
    target: str | None = None,
    met: bool | None = None,
  ) -> None:
    """Keep the mean and the deviation of one figure's repetitions, and print nothing."""
    values = np.atleast_1d(np.asarray(values, np.float64))
    self._append(
      case, what, unit, float(values.mean()), _deviation(values), values.size, target, met
    )

  def _append(
    self,
    case: str,
    what: str,
    unit: str,
    value: float,
    std: float | None,
    n: int,
    target: str | None,
    met: bool | None,
  ) -> None:
    result = Result(
      case=case, what=what, unit=unit, value=value, std=std, n=n, target=target,
      met=None if met is None else bool(met), **self._common,
    )  # fmt: skip
    if self._output is not None:
      append_json_lines(self._output, [dataclasses.asdict(result)])


def parse(
  benchmark: str,
  description: str,
  packages: Sequence[str],
  arguments: Sequence[str] | None,
  *,
  on_host: bool = False,
  add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> tuple[Report, argparse.Namespace]:
  """Read a benchmark's arguments and open its report.

  Args:
    benchmark: The benchmark's name.
    description: What ``--help`` says.
    packages: Those that take part, whose versions are printed and kept.
    arguments: The arguments; None takes the process's own.
    on_host: Whether it measures the processor, even where there is an accelerator.
    add_options: Function that adds the benchmark's own options.

  Returns:
    The report, and the options.
  """
  parser = argparse.ArgumentParser(
    prog=f"python -m experiments.benchmarks.{benchmark}",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add_options(parser)
  parser.add_argument("--output", type=Path, help="a file that the figures are appended to")
  options = parser.parse_args(arguments)
  if options.output is not None:
    try:
      options.output.open("a").close()
    except OSError as error:
      parser.error(f"--output must be a file that can be written: {one_line(error)}")
  if on_host:
    os.environ["JAX_PLATFORMS"] = "cpu"  # For processes that this one starts.
    jax.config.update("jax_platforms", "cpu")
  # A GPU's memory is not taken whole: a peer in the same process needs some.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  return Report(benchmark, packages, output=options.output, on_host=on_host), options


def positive(text: str) -> int:
  """Read a positive integer of the command line."""
  number = int(text)
  if number < 1:
    raise argparse.ArgumentTypeError(f"must be positive, got {number}")
  return number


def read_results(path: Path) -> list[Result]:
  """Read figures: of each case on each device with each JAX, those of the last run alone.

  Args:
    path: A file that benchmarks have written.

  Raises:
    ValueError: If a line is not a figure; file and line are named.
  """
  runs = {}
  for number, values in enumerate(read_json_lines(path), 1):
    try:
      found = Result(**values)
    except (TypeError, ValueError) as error:
      raise ValueError(f"{path}, line {number} is not a benchmark's result: {error}") from error
    key = found.benchmark, found.case, column(found)
    if key in runs and runs[key][0].time != found.time:
      del runs[key]
    runs.setdefault(key, []).append(found)
  return [result for results in runs.values() for result in results]


def is_nothing(share: float, std: float | None, n: int) -> bool:
  """Tell whether a median over rounds is within two standard errors of 0."""
  return std is not None and abs(share) < 2 * 1.25 * std / n**0.5


def _deviation(values: np.ndarray) -> float | None:
  return float(values.std(ddof=1)) if values.size > 1 else None


def column(result: Result) -> str:
  """Return what a figure was measured on, as a table's column says it."""
  jax_version = result.versions.get("jax")
  return result.device + (f", JAX {jax_version}" if jax_version else "")


def _version(package: str) -> str | None:
  try:
    return version(package)
  except PackageNotFoundError:
    return None
