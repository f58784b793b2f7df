"""Writers of metrics: callables of a step and its metrics, and context managers."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from isomax_jax import _checks
from isomax_jax._files import naming, read_json_lines, write_atomically

Metrics = Mapping[str, float | str]


class Writer(Protocol):
  """What a log writes to."""

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Write the metrics of a step."""

  def __enter__(self) -> Self: ...

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
    /,
  ) -> bool | None: ...


class JsonLinesWriter:
  """Appends JSON lines to a file, after cutting off what a killed run may have left.

  That is lines of steps after ``resume_step``, and a torn last line.
  """

  def __init__(self, path: Path, *, resume_step: int = 0):
    self._path = Path(path)
    self._resume_step = resume_step

  def __enter__(self):
    lines = read_json_lines(self._path) if self._path.exists() else []
    for number, line in enumerate(lines, start=1):
      with naming(f"{self._path}, line {number}"):
        _checks.typed("step", line.get("step"), int)
    kept = [line for line in lines if line["step"] <= self._resume_step]
    write_atomically(self._path, "".join(json.dumps(line) + "\n" for line in kept).encode())
    self._file = self._path.open("a")
    return self

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Append a line."""
    with self._named_in_errors():
      self._file.write(json.dumps({"step": step, **metrics}) + "\n")
      self._file.flush()

  def __exit__(self, *exception: object) -> None:
    with self._named_in_errors():
      self._file.close()  # Retries, and fails at, what could not be written.

  @contextlib.contextmanager
  def _named_in_errors(self) -> Iterator[None]:
    try:
      yield
    except OSError as error:
      raise OSError(error.errno, error.strerror, str(self._path)) from error


class TensorBoardWriter:
  """Writes scalars as TensorBoard events under ``split/name``, in files in a directory."""

  def __init__(self, directory: Path):
    self._directory = directory

  def __enter__(self):
    from tensorboardX import SummaryWriter

    self._writer = SummaryWriter(str(self._directory))
    return self

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Write each number as a scalar."""
    for name, value in metrics.items():
      if not isinstance(value, str):
        self._writer.add_scalar(f"{metrics['split']}/{name}", value, step)

  def __exit__(self, *exception: object) -> None:
    self._writer.close()
