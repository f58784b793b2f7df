"""How far training is, live on the terminal: a line for one network, a bar for each of many."""

from rich.console import Console
from rich.progress import (
  BarColumn,
  MofNCompleteColumn,
  Progress,
  TaskID,
  TextColumn,
  TimeElapsedColumn,
  TimeRemainingColumn,
)

from isomax_jax.runs.seeds import Message
from isomax_jax.training.writers import Metrics


class ProgressLine:
  """One live line: step, share, images a second, time left, loss and accuracy.

  Args:
    title: What is being trained.
    total_steps: Steps of the whole run.
    console: Where to; the standard error by default.
  """

  def __init__(self, title: str, *, total_steps: int, console: Console | None = None):
    self._progress = Progress(
      TextColumn("{task.description}"),
      BarColumn(bar_width=24),
      TextColumn("{task.percentage:3.0f}%  step {task.completed}/{task.total}"),
      TextColumn("{task.fields[text]}"),
      TimeRemainingColumn(compact=True),
      console=console or Console(stderr=True),
    )
    self._task = self._progress.add_task(title, total=total_steps, text="compiling")

  def __enter__(self):
    self._progress.start()
    return self

  def __call__(self, step: int, metrics: Metrics) -> None:
    """Show the training's metrics."""
    if metrics["split"] == "train":
      text = (
        f"{metrics['images_per_second']:,.0f} images/s  loss {metrics['loss']:.3f}  "
        f"accuracy {metrics['accuracy']:.1%}"
      )
      self._progress.update(self._task, completed=step, text=text)

  def __exit__(self, *exception: object) -> None:
    self._progress.stop()


class Bars:
  """A bar for each job; ``show`` is what :func:`isomax_jax.runs.seeds.run_jobs` reports to."""

  def __init__(self):
    self._progress = Progress(
      TextColumn("{task.description}"),
      BarColumn(bar_width=24),
      MofNCompleteColumn(),
      TextColumn("{task.fields[text]}"),
      TimeElapsedColumn(),
      console=Console(stderr=True),
    )
    self._tasks: dict[str, TaskID] = {}

  def __enter__(self):
    self._progress.start()
    return self

  def __exit__(self, *exception):
    self._progress.stop()

  def show(self, message: Message) -> None:
    """Show how far a network is."""
    if message.name not in self._tasks:
      self._tasks[message.name] = self._progress.add_task(message.name, text="")
    self._progress.update(
      self._tasks[message.name],
      completed=message.step,
      total=message.total_steps,
      text=message.text,
    )
