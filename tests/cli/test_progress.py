import io

from rich.console import Console

from isomax_jax.cli.progress import ProgressLine


def test_the_progress_line_says_where_training_is():
  screen = io.StringIO()
  console = Console(file=screen, force_terminal=True, width=140)
  with ProgressLine("small_cnn isomax", total_steps=10, console=console) as write:
    metrics = {"loss": 0.25, "accuracy": 0.975, "images_per_second": 12345.0}
    write(5, {"split": "train", **metrics})
  last = screen.getvalue()
  for text in ("small_cnn isomax", "50%", "5/10", "12,345 images/s", "0.250", "97.5%"):
    assert text in last
