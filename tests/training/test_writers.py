import json
import resource

import pytest

from isomax_jax.training.writers import JsonLinesWriter, TensorBoardWriter


def test_json_lines_append_and_cut_what_is_ahead(tmp_path):
  path = tmp_path / "metrics.jsonl"
  with JsonLinesWriter(path) as write:
    write(1, {"loss": 3.0})
    write(2, {"loss": 2.0})
  path.write_text(path.read_text() + '{"step": 3, "lo')
  with JsonLinesWriter(path, resume_step=1) as write:
    write(2, {"loss": 1.5})
  assert [json.loads(line) for line in path.read_text().splitlines()] == [
    {"step": 1, "loss": 3.0},
    {"step": 2, "loss": 1.5},
  ]


def test_a_line_without_a_step_is_named(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 5}\n{"step": "6"}\n')
  with (
    pytest.raises(ValueError, match=f"^{path}, line 2: step must be int, got '6'$"),
    JsonLinesWriter(path),
  ):
    pass


def test_a_new_run_starts_an_empty_log(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 5}\n')
  with JsonLinesWriter(path, resume_step=0):
    pass
  assert path.read_text() == ""


def test_tensorboard_events_hold_the_scalars(tmp_path):
  with TensorBoardWriter(tmp_path) as write:
    write(1, {"split": "train", "loss": 3.0})
  (events,) = tmp_path.iterdir()
  assert b"train/loss" in events.read_bytes()


def test_a_full_disk_is_an_error_that_names_the_log(tmp_path):
  """A limit on the size of files stands for the disk."""
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 0}\n')
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
  try:
    with pytest.raises(OSError, match=r"File too large: '.*metrics.jsonl'$"):
      write_a_line(path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  with JsonLinesWriter(path, resume_step=1) as write:  # The torn line is cut off.
    write(1, {"loss": 0.25})
  assert path.read_text() == '{"step": 0}\n{"step": 1, "loss": 0.25}\n'


def write_a_line(path):
  with JsonLinesWriter(path) as write:
    write(1, {"loss": 0.25})
