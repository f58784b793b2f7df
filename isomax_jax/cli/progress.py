"""Progress bars on the terminal."""

from typing import Any

from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  ProgressColumn,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
)

from isomax_jax.runs.seeds import Message
from isomax_jax.training.writers import Metrics


class NamedBars(Progress):
  """Bars found by their names, by default on the standard error."""

  def __init__(self, *columns: ProgressColumn, console: Console | None = None):
    super().__init__(
      TextColumn("{task.description}"),
      BarColumn(bar_width=24),
      *columns,
      console=console or Console(stderr=True),
    )

  def set(self, name: str, **values: Any) -> None:
    """Set what the bar of this name shows; add the bar if there is none."""
    ids = [task.id for task in self.tasks if task.description == name]
    self.update(ids[0] if ids else self.add_task(name, text=""), **values)


class ProgressLine(NamedBars):
  """One live line: step, share, images a second, time left, loss and accuracy."""

  def __init__(self, title: str, *, total_steps: int, console: Console | None = None):
    super().__init__(
      TextColumn("{task.percentage:3.0f}%  step {task.completed}/{task.total}"),
      TextColumn("{task.fields[text]}"),
      TimeRemainingColumn(compact=True),
      console=console,
    )
    self._title = title
    self.set(title, total=total_steps, text="compiling")

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Show the training's metrics."""
    if metrics["split"] == "train":
      text = (
        f"{metrics['images_per_second']:,.0f} images/s  loss {metrics['loss']:.3f}  "
        f"accuracy {metrics['accuracy']:.1%}"
      )
      self.set(self._title, completed=step, text=text)


class Bars(NamedBars):
  """A bar for each job; ``show`` is what :func:`isomax_jax.runs.seeds.run_jobs` reports to."""

  def __init__(self):
    super().__init__(MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())

  def show(self, job: Message) -> None:
    """Show how far a job is."""
    self.set(job.name, completed=job.step, total=job.total_steps, text=job.text)
