"""Graceful interruption: SIGINT and SIGTERM stop a run between steps."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
  """Whether the run was asked to stop; ``signal`` is the signal that asked, or None."""

  def __init__(self):
    self.signal: signal.Signals | None = None

  def __bool__(self) -> bool:
    return self.signal is not None


class Interrupted(Exception):  # noqa: N818 (it is no error: all is saved)
  """The run stopped because it was asked to, maybe by a ``signal``; its state is saved."""

  def __init__(self, message: str, signal: signal.Signals | None):
    super().__init__(message, signal)  # Both, so that it can be pickled.
    self.signal = signal

  def __str__(self) -> str:
    return self.args[0]


@contextlib.contextmanager
def listen() -> Iterator[Interruption]:
  """Record the first SIGINT or SIGTERM instead of acting on it; a second one acts as usual."""
  interruption = Interruption()
  if threading.current_thread() is not threading.main_thread():
    yield interruption  # Python delivers signals to the main thread only.
    return
  previous = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

  def restore_handlers():
    for each, handler in previous.items():
      signal.signal(each, handler)

  def note(number, frame):
    interruption.signal = signal.Signals(number)
    restore_handlers()

  for each in previous:
    signal.signal(each, note)
  try:
    yield interruption
  finally:
    restore_handlers()
