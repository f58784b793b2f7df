"""Time spent training, kept across restarts."""

import time


class Clock:
  """A stopwatch that is saved with the checkpoint.

  Attributes:
    seconds: Time spent in steps so far, without compilation.
  """

  def __init__(self, seconds: float = 0.0):
    self.seconds = seconds
    self._lap = 0.0
    self._started: float | None = None

  def start(self) -> None:
    """Count from now on, if not counting already."""
    if self._started is None:
      self._started = time.perf_counter()

  def stop(self) -> None:
    """Stop counting, if counting."""
    if self._started is not None:
      elapsed = time.perf_counter() - self._started
      self._started = None
      self._lap += elapsed
      self.seconds += elapsed

  def lap(self) -> float:
    """Stop counting and return the seconds counted since the last lap."""
    self.stop()
    lap, self._lap = self._lap, 0.0
    return lap
