import dataclasses
import json
import math
import subprocess
import sys
import threading

import numpy as np
import pytest

from isomax_jax.reporting import Record, append_records, read_records, summarize
from isomax_jax.reporting.records import method_name, unknown_name


def record(**changes):
  values = {
    "experiment": "demo", "model": "small_cnn", "head": "isomax", "entropic_scale": 10.0,
    "in_set": "mnist_5k:0-7", "out_set": "letters", "detector": "entropic_score", "seed": 0,
    "epochs": 200, "checkpoint": "last", "metric": "auroc", "value": 0.9, "n_in": 3, "n_out": 4,
    "device": "cpu", "versions": {"jax": "0.10.2"}, "git_commit": "abc", "wall_time": 1.5,
    "time": "2026-01-31T12:00:00Z",
  }  # fmt: skip
  return Record(**{**values, **changes})


def test_records_come_back_in_their_order(tmp_path):
  path = tmp_path / "new" / "records.jsonl"
  first = [record(), record(seed=1, value=0.1 + 0.2)]
  second = [record(out_set=None, detector=None, metric="accuracy", git_commit=None, device="Ω")]
  append_records(path, first)
  append_records(path, second)
  assert read_records(path) == first + second
  lines = path.read_text().splitlines()
  assert len(lines) == 3
  assert json.loads(lines[1])["value"] == 0.1 + 0.2
  assert json.loads(lines[0])["versions"] == {"jax": "0.10.2"}


def test_chosen_options_come_back(tmp_path):
  options = {"epsilon": 0.0014, "weights": [0.5, -1.0]}
  tuned = record(detector="mahalanobis", options=options, tuned_on="adversarial")
  append_records(tmp_path / "records.jsonl", [tuned])
  (back,) = read_records(tmp_path / "records.jsonl")
  assert (back.options, back.tuned_on) == (options, "adversarial")


@pytest.mark.parametrize("cut", [1, 30, -2])
def test_torn_last_line_is_skipped_and_cut(tmp_path, cut):
  path = tmp_path / "records.jsonl"
  append_records(path, [record(), record(seed=1)])
  whole = path.read_bytes()
  end = whole.index(b"\n") + 1
  path.write_bytes(whole[:end] + whole[end:][:cut])
  assert read_records(path) == [record()]
  append_records(path, [record(seed=2)])
  assert read_records(path) == [record(), record(seed=2)]


def test_torn_only_line_is_cut(tmp_path):
  path = tmp_path / "records.jsonl"
  path.write_bytes(b'{"experiment": "de')
  assert read_records(path) == []
  append_records(path, [record()])
  assert read_records(path) == [record()]


def test_whole_last_line_without_newline_is_kept(tmp_path):
  path = tmp_path / "records.jsonl"
  append_records(path, [record()])
  path.write_bytes(path.read_bytes().rstrip(b"\n"))
  assert read_records(path) == [record()]
  append_records(path, [record(seed=1)])
  assert read_records(path) == [record(), record(seed=1)]


def test_many_writers_lose_nothing(tmp_path):
  path = tmp_path / "records.jsonl"

  def work(seed):
    for epochs in range(1, 21):
      append_records(path, [record(seed=seed, epochs=epochs)])

  threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  found = sorted((r.seed, r.epochs) for r in read_records(path))
  assert found == [(seed, epochs) for seed in range(4) for epochs in range(1, 21)]


def without(name):
  values = dataclasses.asdict(record())
  del values[name]
  return json.dumps(values)


def with_changes(**changes):
  return json.dumps({**dataclasses.asdict(record()), **changes})


@pytest.mark.parametrize(
  ("line", "problem"),
  [
    ("{]", "not a JSON object"),
    ("[1]", "not a JSON object"),
    ("", "not a JSON object"),
    (without("metric"), "lacks metric"),
    (with_changes(colour="red"), "unknown colour"),
    (with_changes(seed=0.5), "seed must be int, got float"),
    (with_changes(out_set=3), "out_set must be str or None, got int"),
    (with_changes(value=True), "value must be float or int, got bool"),
    (with_changes(value=math.nan), "value must be finite, got nan"),
    (with_changes(versions=[]), "versions must be Mapping, got list"),
  ],
)
def test_malformed_line_is_named(tmp_path, line, problem):
  path = tmp_path / "records.jsonl"
  append_records(path, [record()])
  with path.open("a") as file:
    file.write(line + "\n" + without("wall_time") + "\n")
  with pytest.raises(ValueError, match="line 2") as raised:
    read_records(path)
  assert str(raised.value) == f"{path}, line 2: {problem}"


def test_record_refuses_what_is_no_number():
  with pytest.raises(TypeError, match=r"^value must be float or int, got str$"):
    record(value="0.9")
  with pytest.raises(ValueError, match=r"^wall_time must be finite, got inf$"):
    record(wall_time=math.inf)


def test_summary_is_mean_and_sample_deviation_over_seeds_and_splits():
  values = np.array([0.91, 0.95, 0.99, 0.97])
  records = [
    record(seed=seed, in_set=f"mnist_5k:{known}", out_set=f"mnist_5k:{unknown}", value=value)
    for (seed, known, unknown), value in zip(
      [(0, "0-7", "8,9"), (1, "0-7", "8,9"), (0, "2-9", "0,1"), (1, "2-9", "0,1")],
      values,
      strict=True,
    )
  ]
  records.append(record(head="softmax", value=0.5, out_set="mnist_5k:8,9"))
  summaries = summarize(records, by=["head", "unknown"])
  assert list(summaries) == [
    ("isomax", "mnist_5k, other classes"),
    ("softmax", "mnist_5k, other classes"),
  ]
  summary = summaries["isomax", "mnist_5k, other classes"]
  np.testing.assert_allclose(summary[:2], [values.mean(), values.std(ddof=1)], rtol=1e-14)
  assert summary.n == 4
  single = summaries["softmax", "mnist_5k, other classes"]
  assert (single.mean, single.n) == (0.5, 1)
  assert math.isnan(single.std)


def test_cell_measured_again_counts_once_with_its_last_value():
  again = record(value=0.7, time="later", versions={"jax": "1"}, git_commit="def", wall_time=9.0)
  summary = summarize([record(), record(seed=1, value=0.5), again], by=["head"])["isomax",]
  assert summary.n == 2
  assert summary.mean == pytest.approx(0.6, abs=1e-15)


@pytest.mark.parametrize(
  "changes",
  [
    {"experiment": "other"},
    {"model": "resnet34"},
    {"head": "softmax"},
    {"entropic_scale": 3.0},
    {"objective": "acet"},
    {"outliers": "letters"},
    {"in_set": "cifar10"},
    {"out_set": "photos"},
    {"detector": "energy"},
    {"tuned_on": "adversarial"},
    {"epochs": 10},
    {"checkpoint": "best"},
    {"metric": "aupr_in"},
  ],
)
def test_unlike_numbers_have_no_mean(changes):
  (name,) = changes
  records = [record(), record(**changes)]
  shown = {"in_set": "known", "out_set": "unknown"}.get(name, name)
  with pytest.raises(ValueError, match=rf"^records of \(0,\) differ in {shown}: .*; add it to by$"):
    summarize(records, by=["seed"])
  assert {s.n for s in summarize(records, by=["seed", name]).values()} == {1}


def test_summarize_names_an_unknown_field():
  with pytest.raises(ValueError, match=r"^by must name fields of a record, got 'sed'; known: exp"):
    summarize([record()], by=["sed"])


def test_names_for_tables():
  assert unknown_name("mnist_5k", "mnist_5k_rotated") == "mnist_5k_rotated"
  assert record(in_set="a:0-3", out_set="a:4").unknown == "a, other classes"
  assert record(out_set=None).unknown is None
  assert record(in_set="a:0-3").known == "a"
  assert method_name("softmax", "maximum_probability") == "SoftMax+MPS"
  assert method_name("own", "mine") == "own+mine"
  assert method_name("softmax", "maximum_probability", "acet") == "SoftMax (ACET)+MPS"


def test_records_of_before_objectives_are_of_classifiers(tmp_path):
  line = dataclasses.asdict(record())
  del line["objective"], line["outliers"]
  (tmp_path / "records.jsonl").write_text(json.dumps(line) + "\n")
  assert read_records(tmp_path / "records.jsonl") == [record()]
  assert record().objective == "classification"


@pytest.mark.slow
def test_package_imports_no_matplotlib():
  code = (
    "import sys, isomax_jax.evaluation; assert 'matplotlib' not in sys.modules\n"
    "import isomax_jax.reporting.report; assert 'matplotlib.pyplot' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
