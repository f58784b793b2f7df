"""Progress on the terminal."""

from rich.console import Console
from rich.progress import (
  BarColumn,
  Progress,
  TaskProgressColumn,
  TextColumn,
  TimeRemainingColumn,
)
from rich.table import Column

from isomax_jax.runs.seeds import Message

_ROOM_FOR_BARS = 110
_DAY = 24 * 60 * 60


class ProgressLines(Progress):
  """A live line for each job: its name, a bar, a share, what it says, and the time left or taken.

  They are on the standard error, by default, from the first report on.
  """

  def __init__(self, *, console: Console | None = None):
    console = console or Console(stderr=True)
    # Where there is little room, there is no bar, and names are folded: down to 46 columns nothing
    # is cut.
    bar = [BarColumn(bar_width=24)] if console.width >= _ROOM_FOR_BARS else []
    name, text = Column(overflow="fold", min_width=8), Column(overflow="fold", min_width=20)
    time = Column(no_wrap=True, min_width=len("00:00"))
    super().__init__(
      TextColumn("{task.description}", markup=False, table_column=name),
      *bar,
      TaskProgressColumn(table_column=Column(no_wrap=True, min_width=4)),
      TextColumn("{task.fields[text]}", markup=False, table_column=text),
      TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=time),
      console=console,
      speed_estimate_period=_DAY,  # Jobs may be silent for minutes.
    )

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    if self.live.is_started:
      self.stop()

  def set(self, name: str, *, done: int, total: int | None, text: str) -> None:
    """Set what the line of this name shows; add the line if there is none."""
    self.start()
    ids = [task.id for task in self.tasks if task.description == name]
    line = ids[0] if ids else self.add_task(name, total=total, text="")
    self.update(line, completed=done, total=total, text=text)

  def show(self, job: Message) -> None:
    """Show how far a job is; what :func:`isomax_jax.runs.seeds.run_jobs` reports to."""
    text = f"{job.step}/{job.total_steps} {job.text}"
    self.set(job.name, done=job.step, total=job.total_steps, text=text)
