"""Benchmarks leave out what is not installed, and say so."""

import sys
from importlib.metadata import version

import jax
import numpy as np

from experiments.benchmarks import _timing, heads
from experiments.benchmarks import input as input_benchmark
from tests.training.tiny import TinyNetwork


def test_nothing_is_said_of_what_is_there(capsys):
  assert not _timing.left_out("arrays", "numpy", "jax")
  assert capsys.readouterr().out == ""
  described = _timing.machine("numpy", "no-such-package")
  assert described.endswith(f", numpy {version('numpy')}, no no-such-package")


def test_heads_without_pytorch(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "torch", None)
  monkeypatch.setattr(heads, "REPEATS", {10: 1, 100: 1})
  monkeypatch.setattr(heads, "BATCH", 8)
  monkeypatch.setattr(heads, "WIDTH", 16)
  with jax.numpy_rank_promotion("allow"):  # As outside of the tests.
    heads.main()
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if "PyTorch" in line] == [
    "PyTorch, the authors' form: left out, for lack of torch"
  ]
  assert "100 classes" in lines
  assert sum(line.startswith("largest relative error beside") for line in lines) == 2


def test_input_without_what_reads_records(monkeypatch, capsys):
  for package in ("tensorflow_datasets", "array_record"):
    monkeypatch.setitem(sys.modules, package, None)
  monkeypatch.setattr(input_benchmark, "BATCH", 8)
  monkeypatch.setattr(input_benchmark, "create_model", lambda *a, **k: TinyNetwork())
  options = ["--models", "tiny", "--steps", "1", "--repeats", "1"]
  monkeypatch.setattr(sys, "argv", ["input", *options])
  with jax.numpy_rank_promotion("allow"):
    input_benchmark.main()
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if "stream" in line] == [
    "stream: left out, for lack of tensorflow_datasets, array_record"
  ]
  resident = [line for line in lines if line.startswith("resident: ")]
  assert [("images/s" in line, "of a step" in line) for line in resident] == [
    (True, False), (False, True)
  ]  # fmt: skip


def test_input_draws_images_of_noise():
  source = input_benchmark._draw_noise()
  assert (source.rows.shape, source.labels.shape) == ((10_000, 3072), (10_000,))
  assert np.unique(np.asarray(source.rows[:8])).size == 256
