import json
import math

import numpy as np
import pytest

from isomax_jax.reporting import read_results


def test_run_holds_what_its_files_hold(run_dir):
  run = read_results(run_dir)
  assert (run.model, run.head, run.seed, run.in_set) == ("small_cnn", "isomax", 0, "mnist_5k:0-7")
  assert run.title == "IsoMax, mnist_5k:0-7, seed 0"
  assert run.environment["versions"] == {"jax": "9.8.7"}
  assert len(run.metrics) == 8
  assert run.metrics[0]["loss"] == 0.5
  assert run.detector == "entropic_score"
  assert run.out_sets == ("mnist_5k:8,9", "letters")
  with np.load(run_dir / "scores.npz") as scores:
    np.testing.assert_array_equal(run.scores_of(None, "letters"), scores["entropic_score|letters"])
    np.testing.assert_array_equal(
      run.scores_of("maximum_probability", "test"), scores["maximum_probability|test"]
    )
  assert run.examples["letters|lowest"].shape == (3, 6, 5, 1)
  assert len(run.records) == 16
  assert run.calibration.temperature == 0.75
  assert run.calibration.before.counts.sum() == run.calibration.after.counts.sum() == 60


def test_other_classes_of_the_known_set_come_first(run_dir):
  with np.load(run_dir / "scores.npz") as arrays:
    scores = dict(reversed(list(arrays.items())))
  np.savez(run_dir / "scores.npz", **scores)
  assert read_results(run_dir).out_sets == ("mnist_5k:8,9", "letters")


def test_config_alone_is_a_run(run_dir):
  for path in run_dir.iterdir():
    if path.name != "config.json":
      path.unlink()
  run = read_results(run_dir)
  assert (run.environment, run.metrics, run.decision, run.records) == ({}, [], None, [])
  assert (run.scores, run.examples, run.out_sets) == ({}, {}, ())
  assert run.calibration is None
  assert run.detector == "entropic_score"


def test_directory_that_is_no_run_is_named(tmp_path):
  with pytest.raises(ValueError, match="no such directory") as raised:
    read_results(tmp_path / "none")
  assert (
    str(raised.value) == f"{tmp_path / 'none'}: not a run directory: there is no such directory"
  )
  with pytest.raises(ValueError, match="config") as raised:
    read_results(tmp_path)
  assert str(raised.value) == f"{tmp_path}: not a run directory: config.json is missing"


def test_scores_that_are_not_there_are_named(run_dir):
  with pytest.raises(
    ValueError, match=r"no scores 'energy\|test'; known: maximum_probability\|tes"
  ):
    read_results(run_dir).scores_of("energy", "test")


def change(path, **changes):
  path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", [
  "config.json", "environment.json", "decision.json", "calibration.json",
])  # fmt: skip
@pytest.mark.parametrize(
  ("content", "problem"),
  [
    (b'{"a": ', "not valid JSON"),
    (b"\xff\xfe{}", "not valid JSON"),
    (b"[1]", "expected a JSON ob"),
  ],
)
def test_corrupt_json_is_named(run_dir, name, content, problem):
  (run_dir / name).write_bytes(content)
  with pytest.raises(ValueError, match=problem) as raised:
    read_results(run_dir)
  assert str(raised.value).startswith(f"{run_dir / name}: {problem}")
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("name", "changes", "problem"),
  [
    ("config.json", {"data": {}}, "data.name must be str, got None"),
    ("config.json", {"model": "small_cnn"}, "model.name must be str, got None"),
    ("config.json", {"model": {"name": "small_cnn"}}, "model.head must be str, got None"),
    ("config.json", {"seed": "0"}, "seed must be int, got '0'"),
    ("decision.json", {"threshold": "high"}, "threshold must be a number, got 'high'"),
    ("decision.json", {"class_names": None}, "class_names must be list, got None"),
    ("decision.json", {"detector": 3}, "detector must be str, got 3"),
    ("decision.json", {"threshold": True}, "threshold must be a number, got True"),
    ("decision.json", {"threshold": math.nan}, "threshold must be a number, got NaN"),
    (
      "decision.json",
      {"temperature": 0},
      "temperature must be a positive, finite number, got 0",
    ),
    ("decision.json", {"class_names": ["a", 1]}, "class_names must be str, got 1"),
    ("config.json", {"seed": True}, "seed must be int, got True"),
    ("config.json", {"objective": "acet"}, "objective must be dict, got 'acet'"),
    ("environment.json", {"device": {}}, "device must be str | None, got {}"),
  ],
)
def test_value_of_another_type_is_named(run_dir, name, changes, problem):
  change(run_dir / name, **changes)
  with pytest.raises(ValueError, match="must be") as raised:
    read_results(run_dir)
  assert str(raised.value) == f"{run_dir / name}: {problem}"


def test_calibration_that_is_none_is_named(run_dir):
  path = run_dir / "calibration.json"
  change(path, calibrated={})
  with pytest.raises(ValueError, match="lacks") as raised:
    read_results(run_dir)
  assert str(raised.value) == f"{path}: not a calibration: lacks 'counts'"


@pytest.mark.parametrize(
  ("line", "problem"),
  [
    ('{"epoch": 1', "not a JSON object"),
    ('{"epoch": 1}', "split must be str, got None"),
    ('{"split": "train"}', "epoch must be a number, got None"),
    ('{"split": "train", "epoch": 1, "loss": "low"}', "loss must be a number, got 'low'"),
  ],
)
def test_malformed_log_line_is_named(run_dir, line, problem):
  path = run_dir / "metrics.jsonl"
  path.write_text(f'{{"split": "train", "epoch": 1}}\n{line}\n')
  with pytest.raises(ValueError, match="line 2") as raised:
    read_results(run_dir)
  assert str(raised.value) == f"{path}, line 2: {problem}"


def test_log_line_that_is_being_written_is_skipped(run_dir):
  with (run_dir / "metrics.jsonl").open("a") as file:
    file.write('{"split": "tra')
  assert len(read_results(run_dir).metrics) == 8


@pytest.mark.parametrize("name", ["scores.npz", "examples.npz"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty", "flipped", "pickled", "npy"])
def test_corrupt_arrays_are_named(run_dir, name, damage):
  path = run_dir / name
  data = bytearray(path.read_bytes())
  if damage == "cut":
    path.write_bytes(data[: len(data) // 2])
  elif damage == "text":
    path.write_text("no archive")
  elif damage == "empty":
    path.write_bytes(b"")
  elif damage == "flipped":
    data[200] ^= 255
    path.write_bytes(data)
  elif damage == "npy":
    with path.open("wb") as file:
      np.save(file, np.zeros(3))
  else:
    np.savez(path, **{"energy|test": np.array([{}], dtype=object)})
  with pytest.raises(ValueError, match="not a readable npz file") as raised:
    read_results(run_dir)
  assert str(raised.value).startswith(f"{path}: not a readable npz file (")
  assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
  ("name", "arrays", "problem"),
  [
    ("scores.npz", {"test": np.zeros(2)}, r"expected keys 'DETECTOR\|SET', got 'test'"),
    ("scores.npz", {"a|b": np.zeros((2, 1))}, r"'a\|b' must be float64 of shape \[images\], got"),
    ("scores.npz", {"a|b": np.zeros(2, np.float32)}, "float64 of shape .*, got float32 "),
    ("scores.npz", {"a|b": np.zeros(0)}, "must hold a score or more and no NaN"),
    ("scores.npz", {"a|b": np.array([0, np.nan])}, "must hold a score or more and no NaN"),
    ("examples.npz", {"a|highest": np.zeros((2, 3, 3, 1))}, "must be uint8 of shape"),
    ("examples.npz", {"a|highest": np.zeros((2, 3, 3, 2), np.uint8)}, "must be uint8 of shape"),
    (
      "examples.npz",
      {"a|highest": np.zeros((2, 3, 3, 1), np.uint8)},
      r"needs 'a\|highest\|scores'",
    ),
    (
      "examples.npz",
      {"a|highest": np.zeros((2, 3, 3, 1), np.uint8), "a|highest|scores": np.zeros(3)},
      r"needs 'a\|highest\|scores' with a score an image",
    ),
  ],
)
def test_arrays_of_another_kind_are_named(run_dir, name, arrays, problem):
  np.savez(run_dir / name, **arrays)
  with pytest.raises(ValueError, match=problem) as raised:
    read_results(run_dir)
  assert str(raised.value).startswith(f"{run_dir / name}: ")


def test_malformed_record_is_named(run_dir):
  (run_dir / "records.jsonl").write_text('{"metric": "auroc"}\n')
  with pytest.raises(ValueError, match=r"records\.jsonl, line 1: lacks experiment, "):
    read_results(run_dir)
