"""Run directories, configs, descriptions of sets and records with any of their files changed."""

import json
import math
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isomax_jax.data import SPECS, spec_to_json
from isomax_jax.data.folders import read_spec as read_folder_spec
from isomax_jax.reporting import Record, read_records, read_results, summarize
from isomax_jax.reporting.report import write_report
from isomax_jax.runs._load import _step_of
from isomax_jax.runs.directory import read_config, read_spec
from isomax_jax.training import TrainConfig, from_json, to_json
from isomax_jax.training.writers import JsonLinesWriter
from tests.fuzz.strategies import changed, damaged, fuzzed, json_files, json_values, read_or_refuse
from tests.reporting.conftest import write_run

JSON_FILES = ("config.json", "environment.json", "decision.json", "calibration.json")
LINES = ("metrics.jsonl", "records.jsonl")
ARRAYS = ("scores.npz", "examples.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  return write_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run_dir(whole, tmp_path):
  return shutil.copytree(whole, tmp_path / "run")


@st.composite
def line_files(draw, content):
  """JSON lines of which one is changed as JSON, or the file as bytes."""
  if draw(st.booleans()):
    return draw(damaged(content))
  lines = content.splitlines()
  number = draw(st.integers(0, len(lines) - 1))
  lines[number] = draw(json_files(json.loads(lines[number])))
  return b"\n".join(lines) + b"\n"


def contents(path):
  if path.suffix == ".json":
    return json_files(json.loads(path.read_bytes()))
  return line_files(path.read_bytes()) if path.suffix == ".jsonl" else damaged(path.read_bytes())


def is_sound(run):
  """Look at all of a run that was read, as plots and reports do."""
  assert all(map(str, (run.model, run.head, run.objective, run.seed, run.title)))
  assert all(scores.dtype == np.float64 for scores in run.scores.values())
  for name in run.out_sets:
    run.unknown(name)
  assert all(isinstance(record, Record) for record in run.records)
  if run.decision is not None:
    assert not math.isnan(run.decision["threshold"])
    assert 0 < run.decision["temperature"] < math.inf
    assert all(isinstance(name, str) for name in run.decision["class_names"])
  if run.calibration is not None:
    assert 0 <= run.calibration.after.calibration_error <= 1
  return True


@pytest.mark.parametrize("name", [*JSON_FILES, *LINES, *ARRAYS])
def test_a_run_is_read_or_the_file_is_named(run_dir, name):
  @fuzzed(60)
  @given(contents(run_dir / name))
  def check(content):
    (run_dir / name).write_bytes(content)
    run = read_or_refuse(lambda: read_results(run_dir), run_dir / name)
    assert run is None or is_sound(run)

  check()


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", [*JSON_FILES, *LINES])
def test_a_report_is_written_or_the_file_is_named(run_dir, tmp_path, name, monkeypatch):
  # Writing figures takes seconds; they are made all the same.
  monkeypatch.setattr("isomax_jax.reporting.style.render", lambda *_, **__: b"<svg></svg>")

  @fuzzed(15)
  @given(contents(run_dir / name))
  def check(content):
    (run_dir / name).write_bytes(content)
    page = tmp_path / "report.html"
    page.unlink(missing_ok=True)
    read_or_refuse(lambda: write_report([run_dir], page), run_dir)

  check()


@fuzzed(200)
@given(json_files(to_json(TrainConfig())))
def test_a_config_is_read_or_the_file_is_named(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "config.json"
  path.write_bytes(content)
  config = read_or_refuse(lambda: read_config(path.parent), path)
  if config is not None:
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    for section, default in to_json(TrainConfig()).items():
      for name, value in default.items() if isinstance(default, dict) else ():
        if type(value) in (bool, int, str):
          assert type(to_json(config)[section][name]) is type(value)


@fuzzed(100)
@given(changed(to_json(TrainConfig())))
def test_values_that_come_by_another_way_than_a_file(values):
  try:
    config = from_json(values)
  except ValueError:
    return
  assert isinstance(config, TrainConfig)


@fuzzed(150)
@given(st.sampled_from(["photos", "cifar10"]).flatmap(lambda n: json_files(spec_to_json(SPECS[n]))))
def test_a_description_is_read_or_the_file_is_named(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "data.json"
  path.write_bytes(content)
  spec = read_or_refuse(lambda: read_spec(path.parent), path)
  if spec is not None:
    read = json.loads(json.dumps(spec_to_json(spec)))
    assert {**read, **json.loads(content)} == read
    assert 1 <= min(spec.example_shape) <= max(spec.example_shape) < 10_000
    assert spec.num_bytes() >= 0


@fuzzed(50)
@given(json_files({**spec_to_json(SPECS["photos"]), "name": "image_folder/a-8x8x3"}))
def test_a_prepared_folders_description_is_read_or_named(tmp_path_factory, content):
  folder = tmp_path_factory.getbasetemp() / "sets"
  path = folder / "image_folder" / "a-8x8x3" / "1.0.0" / "spec.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  name = "image_folder/a-8x8x3"
  spec = read_or_refuse(lambda: read_folder_spec(name, data_dir=folder), path)
  assert spec is None or spec.name == name


def test_records_are_read_or_the_file_is_named(run_dir):
  path = run_dir / "records.jsonl"

  @fuzzed(100)
  @given(line_files(path.read_bytes()))
  def check(content):
    path.write_bytes(content)
    for record in read_or_refuse(lambda: read_records(path), path, ValueError) or ():
      (summary,) = summarize([record, record], by=["metric"]).values()
      assert math.isfinite(summary.mean)

  check()


def test_a_log_is_gone_on_with_or_the_file_is_named(run_dir):
  path = run_dir / "metrics.jsonl"
  content = path.read_bytes()

  class NoCheckpoints:
    def steps(self):
      return [1, 2, 3]

  def go_on():
    _step_of(2, run_dir, NoCheckpoints())
    with JsonLinesWriter(path, resume_step=2) as write:
      write(3, {"split": "train"})
    return path.read_text()

  @fuzzed(100)
  @given(line_files(content))
  def check(content):
    path.write_bytes(content)
    read_or_refuse(go_on, run_dir, ValueError)

  check()


@fuzzed(60)
@given(st.dictionaries(st.sampled_from(["a|test", "a|b", "x"]), json_values, max_size=2))
def test_arrays_of_any_kind_are_checked(tmp_path_factory, values):
  folder = tmp_path_factory.getbasetemp() / "arrays"
  write_run(folder) if not folder.exists() else None
  for name in ARRAYS:
    arrays = {}
    for key, value in values.items():
      try:
        array = np.asarray(value)
      except (ValueError, OverflowError):
        continue
      if array.ndim < 32:
        arrays[key] = arrays[f"{key}|scores"] = array
    np.savez(folder / name, **arrays)
    run = read_or_refuse(lambda: read_results(folder), folder)
    assert run is None or is_sound(run)
