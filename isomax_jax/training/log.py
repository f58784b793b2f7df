"""The log of a run: what its steps give is counted, and written by the line."""

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

  It is saved with the state, so that the log shows no restart.

  Attributes:
    seconds: Time spent in steps so far, without compilation.
    line_seconds: The same since the last line.
    line_compile_seconds: Time spent compiling since the last line.
    line_steps: Steps since the last line.
    line_sums: Sums of their metrics.

  Example:
    >>> tally = Tally()
    >>> tally.add({"loss": np.array([1.0, 2.0])})
    >>> resumed = Tally.from_json(tally.to_json())
    >>> resumed.add({"loss": np.array([6.0])})
    >>> resumed.line_steps, resumed.take_means()["loss"], resumed.line_steps
    (3, 3.0, 0)
  """

  seconds: float = 0.0
  line_seconds: float = 0.0
  line_compile_seconds: float = 0.0
  line_steps: int = 0
  line_sums: dict[str, float] = dataclasses.field(default_factory=dict)
  _started: float | None = dataclasses.field(default=None, init=False, repr=False)

  def start(self) -> None:
    """Count time from now on, if not counting already."""
    if self._started is None:
      self._started = time.perf_counter()

  def stop(self) -> None:
    """Stop counting time, if counting."""
    if self._started is not None:
      elapsed = time.perf_counter() - self._started
      self._started = None
      self.seconds += elapsed
      self.line_seconds += elapsed

  def add(self, metrics: Mapping[str, np.ndarray]) -> None:
    """Add the metrics of some steps, each of shape ``[steps]``.

    One after the other in float64, so that it makes no difference where a restart cuts them.
    """
    for name, values in metrics.items():
      for value in values.tolist():
        self.line_sums[name] = self.line_sums.get(name, 0.0) + value
    self.line_steps += len(values)

  def take_means(self) -> dict[str, float]:
    """Return the means since the last line, and begin the next one."""
    means = {name: total / self.line_steps for name, total in self.line_sums.items()}
    self.line_seconds, self.line_compile_seconds = 0.0, 0.0
    self.line_steps, self.line_sums = 0, {}
    return means

  def to_json(self) -> dict[str, Any]:
    """Return plain values, which floats survive unchanged."""
    return {name: getattr(self, name) for name in self._names()}

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> Self:
    """Make a tally from what :meth:`to_json` gave.

    Raises:
      ValueError: If a value is missing or of another type.
    """
    types = get_type_hints(cls)
    for name in cls._names():
      _checks.typed(name, values.get(name), types[name])
    return cls(**{name: values[name] for name in cls._names()})

  @classmethod
  def _names(cls) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init]


class Log:
  """Counts what steps give and writes it.

  Args:
    tally: What was counted so far.
    writers: Take the lines.
    batch_size: Examples a step over all devices.
    steps_per_epoch: Steps of an epoch.
  """

  def __init__(
    self, tally: Tally, writers: Sequence[Writer], *, batch_size: int, steps_per_epoch: float
  ):
    self.tally = tally
    self._writers = writers
    self._batch_size = batch_size
    self._steps_per_epoch = steps_per_epoch
    self._pending: list[Any] = []

  @contextlib.contextmanager
  def compiling(self) -> Iterator[None]:
    """Count what is done in the context as compilation."""
    self.tally.stop()
    started = time.perf_counter()
    yield
    self.tally.line_compile_seconds += time.perf_counter() - started

  def add(self, metrics: Any) -> None:
    """Take what a dispatch gives, which need not be computed yet."""
    self._pending.append(metrics)

  def count(self, step: int, *, last_good: Callable[[], int | None]) -> None:
    """Count what the steps gave; the only place that waits for them.

    Args:
      step: The step after them.
      last_good: Gives the step of the last checkpoint, for the message.

    Raises:
      FloatingPointError: If their loss is not finite.
    """
    for metrics in jax.device_get(self._pending):
      self.tally.add(metrics)
    self.tally.stop()
    self._pending.clear()
    if not np.isfinite(self.tally.line_sums["loss"]):
      raise FloatingPointError(
        f"the loss is not finite between steps {step - self.tally.line_steps} and {step}; "
        f"last good checkpoint: {last_good() or 'none'}"
      )

  def write_means(self, step: int) -> None:
    """Write the means since the last line."""
    speed = self.tally.line_steps * self._batch_size / self.tally.line_seconds
    compiling = self.tally.line_compile_seconds
    means = {**self.tally.take_means(), "images_per_second": speed}
    self.write(step, "train", means | ({"compile_seconds": compiling} if compiling else {}))

  def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
    """Write a line."""
    for writer in self._writers:
      writer(step, {"epoch": step / self._steps_per_epoch, "split": split, **metrics})
