"""Benchmarks leave out what is not installed, say so, and keep what they measure."""

import json
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import _report, _steps, _timing, detectors, heads, scoring, training
from experiments.benchmarks import input as input_benchmark
from experiments.benchmarks._report import read_results
from isomax_jax.data import resident
from tests.training.tiny import TinyNetwork


def test_nothing_is_said_of_what_is_there(capsys):
  assert not _timing.left_out("arrays", "numpy", "jax")
  assert capsys.readouterr().out == ""
  described = _timing.machine("numpy", "no-such-package")
  assert described.endswith(f", numpy {version('numpy')}, no no-such-package")


@pytest.mark.slow
def test_heads_without_pytorch(monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "torch", None)
  monkeypatch.setattr(heads, "REPEATS", {10: 1, 100: 1})
  monkeypatch.setattr(heads, "BATCH", 8)
  monkeypatch.setattr(heads, "WIDTH", 16)
  with jax.numpy_rank_promotion("allow"):  # As outside of the tests.
    heads.main([])
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if "PyTorch" in line] == [
    "PyTorch, the authors' form: left out, for lack of torch"
  ]
  assert "100 classes" in lines
  assert sum(line.startswith("largest relative error beside") for line in lines) == 2


@pytest.mark.slow
def test_input_without_what_reads_records(monkeypatch, capsys, tmp_path):
  for package in ("tensorflow_datasets", "array_record"):
    monkeypatch.setitem(sys.modules, package, None)
  monkeypatch.setattr(input_benchmark, "BATCH", 8)
  monkeypatch.setattr(_steps, "create_model", lambda *a, **k: TinyNetwork())
  path = tmp_path / "results.jsonl"
  options = ["--models", "tiny", "--steps", "1", "--repeats", "1", "--output", str(path)]
  with jax.numpy_rank_promotion("allow"):
    input_benchmark.main(options)
  lines = capsys.readouterr().out.splitlines()
  assert [line for line in lines if "stream" in line] == [
    "stream: left out, for lack of tensorflow_datasets, array_record"
  ]
  assert [(r.what, r.unit) for r in read_results(path)] == [
    ("resident", "images/s"),
    ("same batch", "s"),
    ("resident", "s"),
    ("resident, of a step", "%"),
  ]


def test_input_draws_images_of_noise():
  source = input_benchmark.draw_noise()
  assert (source.rows.shape, source.labels.shape) == ((10_000, 3072), (10_000,))
  assert np.unique(np.asarray(source.rows[:8])).size == 256


@pytest.mark.slow
def test_training_keeps_a_result_a_figure(monkeypatch, capsys, tmp_path):
  monkeypatch.setitem(sys.modules, "torch", None)
  made = []

  def tiny(name, classes, *, head, dtype):
    made.append((name, classes, head, dtype))
    return TinyNetwork()

  monkeypatch.setattr(_steps, "create_model", tiny)
  monkeypatch.setattr(training, "EXAMPLES", 20)
  path = tmp_path / "results.jsonl"
  with jax.numpy_rank_promotion("allow"):
    training.main(["--quick", "--steps", "2", "--repeats", "3", "--output", str(path)])
  assert "PyTorch: left out, for lack of torch" in capsys.readouterr().out.splitlines()
  heads_made = ["isomax", "isomax", "softmax", "softmax"]
  assert made == [("resnet_small", 10, head, jnp.float32) for head in heads_made]
  results = {r.what: r for r in read_results(path)}
  names = ["IsoMax", "IsoMax, bare step", "SoftMax", "SoftMax, bare step"]
  assert [name for name, r in results.items() if r.unit == "images/s"] == names
  assert [results[f"{name}: compiling"].unit for name in names] == ["s"] * 4
  assert all(results[name].n == 3 and results[name].std > 0 for name in names)
  assert [r.n for r in results.values() if r.unit == "%"] == [3, 3, 3]
  assert {(r.benchmark, r.case, r.platform) for r in results.values()} == {
    ("training", "resnet_small, float32, batch 64, 2 steps a call", "cpu")
  }
  assert all(r.versions["jax"] == jax.__version__ for r in results.values())


def test_shares_and_speed_are_those_of_the_times(tmp_path, capsys):
  """Steps of 10 s, 1 s of them input and 2 s the head's; PyTorch at its best takes 15 s.

  One round of three is another's, and moves no median.
  """
  seconds = {
    "IsoMax": 10.0, "IsoMax, bare step": 9.0, "SoftMax": 8.0, "PyTorch, eager": 30.0,
    "PyTorch, channels last": 15.0, "PyTorch, eager, bare step": 18.0,
  }  # fmt: skip
  timings = {name: _timing.Timing(0.0, np.array([s, s, s])) for name, s in seconds.items()}
  timings["IsoMax"].seconds[2] *= 3
  path = tmp_path / "results.jsonl"
  report, _ = _report.parse("training", "", ("jax",), ["--output", str(path)])
  training.report_shares(report, "case", timings, target=0.02)
  training.report_speedup(report, "case", timings, at_least=1.5)
  results = read_results(path)
  assert [r.value for r in results] == pytest.approx([20, 10, 70, 1.5, 2.0])
  assert [(r.target, r.met) for r in results] == [
    (None, None), ("<= 2", False), (None, None), (">= 1.5", True), (None, None)
  ]  # fmt: skip
  assert "PyTorch's best: PyTorch, channels last" in capsys.readouterr().out


def test_a_bare_step_takes_the_first_batch_as_it_is_augmented_without_chance():
  """Normalised beforehand, by the set's constants, and the same in every step."""
  images, labels = training.draw_images()
  source = resident.make_source(jnp.asarray(images), jnp.asarray(labels))
  draw = next(resident.draws(len(labels), batch_size=4, seed=0))
  bare = _steps.fixed(resident.fetch(source, draw), draw)
  batch = bare.fetch(bare.source, next(bare.draws))
  mean, deviation = (0.491, 0.482, 0.446), (0.247, 0.243, 0.261)
  expected = (images[draw.indices] / 255 - mean) / deviation
  np.testing.assert_allclose(bare.prepare(None, batch), expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(batch.labels, labels[draw.indices])


LINE = {
  "benchmark": "scoring", "case": "case", "what": "what", "unit": "s", "value": 1.0, "std": None,
  "n": 1, "target": None, "met": None, "platform": "cpu", "device": "a", "versions": {"jax": "1"},
  "git_commit": None, "time": "2026-01-01T00:00:00+00:00",
}  # fmt: skip


def test_of_a_case_the_last_run_counts_on_each_device(tmp_path):
  """Whole: what the run before had beside is not shown with it."""
  path = tmp_path / "results.jsonl"
  older, newer = ({**LINE, "time": f"2026-01-0{day}T00:00:00+00:00"} for day in (1, 2))
  lines = [
    {**older, "value": 1.0},
    {**older, "what": "a peer", "value": 2.0},
    {**older, "case": "another", "value": 3.0},
    {**older, "versions": {"jax": "0.1"}, "value": 4.0},
    {**newer, "value": 5.0},
  ]
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  assert sorted(r.value for r in read_results(path)) == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
  ("changed", "message"),
  [
    ({"value": "1"}, "value must be a number, got '1'"),
    ({"value": True}, "value must be a number, got True"),
    ({"value": 1e999}, "Infinity|finite"),
    ({"n": 0}, "n must be a positive integer, got 0"),
    ({"platform": "quantum"}, "platform"),
    ({"versions": None}, "versions must be .*, got None"),
    ({"case": ["case"]}, "case must be str, got "),
    ({"target": "<= 1"}, "met must say whether there is a target, got '<= 1', None"),
    ({"another": 1}, "another"),
  ],
)
def test_a_line_that_is_no_result_is_named(changed, message, tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text(json.dumps({**LINE, **changed}) + "\n")
  with pytest.raises(ValueError, match=rf"results\.jsonl, line 1.*({message})"):
    read_results(path)


def test_a_line_that_a_killed_run_left_is_cut(tmp_path):
  path = tmp_path / "results.jsonl"
  path.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE)[:40])
  report, _ = _report.parse("scoring", "", ("jax",), ["--output", str(path)])
  report.keep("case", "what", "s", [1.0, 2.0])
  first, second = read_results(path)
  assert (first.device, second.value, second.n) == ("a", 1.5, 2)
  assert second.std == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("words", [["--steps", "0"], ["--repeats", "-1"], ["--batch-sizes", "0"]])
def test_counts_are_positive(words, capsys):
  with pytest.raises(SystemExit) as exit_:
    training.main(words)
  assert exit_.value.code == 2
  assert "must be positive, got" in capsys.readouterr().err


@pytest.mark.parametrize("module", [detectors, heads, input_benchmark, scoring, training])
def test_help_helps_and_measures_nothing(module, capsys):
  with pytest.raises(SystemExit) as exit_:
    module.main(["--help"])
  assert exit_.value.code == 0
  assert "--output" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["missing/results.jsonl", "."])
def test_results_go_to_a_file_that_can_be_written(place, capsys, tmp_path):
  with pytest.raises(SystemExit) as exit_:
    scoring.main(["--output", str(tmp_path / place)])
  assert exit_.value.code == 2
  assert "--output must be a file that can be written" in capsys.readouterr().err
