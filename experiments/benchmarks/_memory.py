"""Peak memory and time of a call, in a process of its own."""

import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np


class Usage(NamedTuple):
  """What calls of one function took.

  Attributes:
    seconds: The median wall time of a call.
    megabytes: By how much the first call's highest resident set was above the one before it.
    result: What the last call returned, its arrays as NumPy's.
  """

  seconds: float
  megabytes: float
  result: Any


def measure(prepare: Callable[..., Callable[[], Any]], *arguments: Any, repeats: int) -> Usage:
  """Measure a function that a fresh process prepares.

  The process is spawned: it shares no memory with this one, nor what earlier calls left in its
  heap. The resident set is the operating system's count, whoever allocated, so it holds NumPy's,
  BLAS's and XLA's buffers alike. It needs Linux, where a process may reset its own peak.

  Args:
    prepare: A function of a module; it imports, compiles and warms up, and returns what is
      measured.
    *arguments: Its arguments.
    repeats: The number of calls.

  Returns:
    Time, memory and result.
  """
  with multiprocessing.get_context("spawn").Pool(1) as pool:
    return Usage(*pool.apply(_measured, (prepare, arguments, repeats)))


def table(usages: Mapping[str, Usage]) -> str:
  """Format usages, one row each."""
  width = max(map(len, usages))
  rows = [f"{'':{width}} {'median, s':>10} {'peak, MB':>10}"]
  for name, usage in usages.items():
    rows.append(f"{name:{width}} {usage.seconds:10.3f} {usage.megabytes:10.1f}")
  return "\n".join(rows)


def _measured(
  prepare: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], repeats: int
) -> tuple[float, float, Any]:
  call = prepare(*arguments)
  # What the preparation freed goes back, or the call would take it again unseen.
  ctypes.CDLL(None).malloc_trim(0)
  Path("/proc/self/clear_refs").write_text("5")
  before, peak, seconds = _resident("VmRSS"), 0.0, []
  for _ in range(repeats):
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    seconds.append(time.perf_counter() - start)
    peak = peak or _resident("VmHWM")
  return float(np.median(seconds)), peak - before, jax.tree.map(np.asarray, result)


def _resident(field: str) -> float:
  """Return a field of the process's status in MB; /proc says kB and means 1,024 bytes."""
  status = Path("/proc/self/status").read_text()
  return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024 / 1e6
