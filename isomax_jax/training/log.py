"""The log of a run: means of the metrics, and time spent, between lines."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, get_type_hints

import jax
import numpy as np

from isomax_jax import _checks
from isomax_jax.training.writers import Writer


@dataclasses.dataclass
class Tally:
  """Time spent in steps, and sums of the metrics since the last line of the log.

  It is saved with the state, so that a restart does not show in the log.

  Attributes:
    seconds: Time spent in steps so far, without compilation.
    line_seconds: The same since the last line.
    line_compile_seconds: Time spent compiling since the last line.
    line_steps: Steps since the last line.
    line_sums: Sums of their metrics.
  """

  seconds: float = 0.0
  line_seconds: float = 0.0
  line_compile_seconds: float = 0.0
  line_steps: int = 0
  line_sums: dict[str, float] = dataclasses.field(default_factory=dict)

  def to_json(self) -> dict[str, Any]:
    """Return the values by name."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> Self:
    """Make a tally from what :meth:`to_json` returned; ValueError for a missing or wrong value."""
    types = get_type_hints(cls)
    for name, expected in types.items():
      _checks.typed(name, values.get(name), expected)
    return cls(**{name: values[name] for name in types})


class Log:
  """Tallies time and metrics, and writes their means; the batch size is that over all devices."""

  def __init__(
    self, tally: Tally, writers: Sequence[Writer], *, batch_size: int, steps_per_epoch: float
  ):
    self.tally = tally
    self._writers = writers
    self._batch_size = batch_size
    self._steps_per_epoch = steps_per_epoch
    self._pending: list[Any] = []
    self._started: float | None = None

  def start_clock(self) -> None:
    """Count time as spent in steps from now on."""
    if self._started is None:
      self._started = time.perf_counter()

  def stop_clock(self) -> None:
    """Stop counting time until the clock is started again."""
    if self._started is not None:
      elapsed = time.perf_counter() - self._started
      self._started = None
      self.tally.seconds += elapsed
      self.tally.line_seconds += elapsed

  @contextlib.contextmanager
  def compiling(self) -> Iterator[None]:
    """Count the time in this context as compilation."""
    self.stop_clock()
    started = time.perf_counter()
    yield
    self.tally.line_compile_seconds += time.perf_counter() - started

  def add(self, metrics: Any) -> None:
    """Take the metrics of a dispatch, ``[steps]`` each, which need not be computed yet."""
    self._pending.append(metrics)

  def count(self, step: int, *, last_good: Callable[[], int | None]) -> None:
    """Wait for the steps up to ``step`` and sum up their metrics.

    Raises:
      FloatingPointError: If their loss is not finite; the message names the step ``last_good()``.
    """
    sums = self.tally.line_sums
    for metrics in jax.device_get(self._pending):
      for name, values in metrics.items():
        # One by one in float64, so that it makes no difference where a restart cuts them.
        for value in values.tolist():
          sums[name] = sums.get(name, 0.0) + value
      self.tally.line_steps += len(metrics["loss"])
    self.stop_clock()
    self._pending.clear()
    if not np.isfinite(sums["loss"]):
      raise FloatingPointError(
        f"the loss is not finite between steps {step - self.tally.line_steps} and {step}; "
        f"last good checkpoint: {last_good() or 'none'}"
      )

  def write_means(self, step: int) -> None:
    """Write the means since the last line."""
    tally = self.tally
    means = {name: total / tally.line_steps for name, total in tally.line_sums.items()}
    means["images_per_second"] = tally.line_steps * self._batch_size / tally.line_seconds
    if tally.line_compile_seconds:
      means["compile_seconds"] = tally.line_compile_seconds
    self.tally = Tally(seconds=tally.seconds)
    self.write(step, "train", means)

  def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
    """Write a line."""
    for writer in self._writers:
      writer(step, {"epoch": step / self._steps_per_epoch, "split": split, **metrics})
