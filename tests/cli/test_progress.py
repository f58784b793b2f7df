import io
import re

import pytest
from rich.console import Console

from isomax_jax.cli.progress import ProgressLines
from isomax_jax.runs.seeds import Message, MessageWriter

METRICS = {"loss": 0.25, "accuracy": 0.975, "images_per_second": 12345.0}


@pytest.fixture
def screen():
  return io.StringIO()


def seen(screen):
  """Return the lines that were written last, without how they look."""
  text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", screen.getvalue())
  return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def lines_on(screen, width=140):
  return ProgressLines(console=Console(file=screen, force_terminal=True, width=width))


def test_the_progress_line_says_where_training_is(screen):
  with (
    lines_on(screen) as lines,
    MessageWriter("small_cnn isomax", 10, lines.show) as write,
  ):
    lines.refresh()
    assert "compiling" in screen.getvalue()
    write(5, {"split": "train", **METRICS})
    write(5, {"split": "validation", "accuracy": 0.1, "loss": 9.0})
  last = seen(screen)[-1]
  for text in ("small_cnn isomax", "50%", "5/10", "12,345 images/s", "0.250", "97.5%"):
    assert text in last
  assert "9.0" not in last


def test_jobs_side_by_side_have_a_line_each(screen):
  with lines_on(screen) as lines:
    for step in (1, 2):
      for name in ("seed0", "[b]seed1"):
        lines.show(Message(name, step, 4, f"loss of {name}"))
  *_, first, second = seen(screen)
  for line, name in ((first, "seed0"), (second, "[b]seed1")):
    assert name in line
    assert f"50% 2/4 loss of {name}" in line


@pytest.mark.parametrize(("name", "lines_of_it"), [("small_cnn isomax", 1), ("a name " * 6, 2)])
def test_a_narrow_terminal_loses_the_bar_and_nothing_else(screen, name, lines_of_it):
  with lines_on(screen, width=80) as lines, MessageWriter(name, 9000, lines.show) as write:
    write(9000, {"split": "train", **METRICS})
  last = seen(screen)[-lines_of_it:]
  words = " ".join(last).split()
  text = "9000/9000 12,345 images/s loss 0.250 accuracy 97.5%"
  for word in [*name.split(), "100%", *text.split()]:
    assert word in words
  assert "…" not in "".join(last)
  assert re.search(r"\d:\d\d", last[0])


def test_nothing_is_shown_where_nothing_was_reported(screen):
  with lines_on(screen):
    pass
  assert screen.getvalue() == ""


def test_a_slow_job_says_how_long_it_takes(screen):
  now = [0.0]
  console = Console(file=screen, force_terminal=True, width=140)
  lines = ProgressLines(console=console)
  lines.get_time = lambda: now[0]
  with lines:
    for step in range(1, 6):
      now[0] += 100  # Rich forgets after half a minute, unless it is told otherwise.
      lines.set("a job", done=step, total=10, text="")
    assert lines.tasks[0].time_remaining == 500


def test_a_share_of_what_has_no_known_total_is_not_told(screen):
  with lines_on(screen, width=80) as lines:
    lines.set("download", done=5, total=None, text="5 MB")
    lines.refresh()
  assert "%" not in seen(screen)[-1]
