"""A comparison of detectors on a network trained on four digits."""

import shutil

import numpy as np
import pytest

from isomax_jax import metrics
from isomax_jax.detectors import Unsupported
from isomax_jax.evaluation import tuning
from isomax_jax.reporting import read_records
from isomax_jax.runs import benchmark

NAMES = ("entropic_score", "odin", "vim")


@pytest.fixture(scope="module", autouse=True)
def _small_grid():
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tuning, "ODIN_TEMPERATURES", (1.0, 1000.0))
    patch.setattr(tuning, "ODIN_EPSILONS", (0.0, 0.01))
    yield


@pytest.fixture(scope="module")
def run_dir(trained_run, tmp_path_factory):
  """A copy of the trained run, since a comparison writes into it."""
  return shutil.copytree(trained_run, tmp_path_factory.mktemp("compared") / "digits")


@pytest.fixture(scope="module")
def compared(run_dir, digits_dir):
  return benchmark(
    run_dir, out_sets=["mnist_5k:4-9", "letters"], detectors=NAMES, data_dir=digits_dir
  )


def test_records_are_the_metrics_of_the_saved_scores(run_dir, compared):
  assert read_records(run_dir / "benchmark" / "records.jsonl") == compared.records
  scores = np.load(run_dir / "benchmark" / "scores.npz")
  detections = [r for r in compared.records if r.out_set is not None]
  assert len(detections) == 2 * 2 * 6
  for record in detections:
    known, unknown = (scores[f"{record.detector}|{of}"] for of in ("test", record.out_set))
    assert (record.n_in, record.n_out) == (len(known), len(unknown))
    assert record.value == getattr(metrics, record.metric)(known, unknown)
  assert compared.near == ("mnist_5k:4-9",)


def test_options_and_what_they_were_chosen_on_are_in_the_records(compared):
  for record in compared.records:
    if record.detector == "odin":
      assert set(record.options) == {"temperature", "epsilon"}
      assert record.tuned_on == "adversarial"
    else:
      assert (record.options, record.tuned_on) == ({}, None)


def test_a_detector_that_the_network_cannot_have_is_told_and_leaves_no_record(compared):
  assert list(compared.refused) == ["vim"]
  assert isinstance(compared.refused["vim"], Unsupported)
  assert {r.detector for r in compared.records} == {None, "entropic_score", "odin"}


def test_each_detector_has_a_time(compared):
  times = {r.detector: r.value for r in compared.records if r.metric == "relative_time"}
  assert set(times) == {"entropic_score", "odin"}
  assert all(time > 0 for time in times.values())


def test_figures_are_written(run_dir, compared):
  for name in ("roc.png", "scores.png"):
    assert (run_dir / "benchmark" / name).stat().st_size > 10_000


@pytest.mark.slow
def test_a_second_comparison_replaces_the_first(run_dir, compared, digits_dir):
  options = {"out_sets": ["letters"], "near": ["letters"], "detectors": ["energy"]}
  second = benchmark(run_dir, **options, data_dir=digits_dir)
  assert second.near == ("letters",)
  assert read_records(run_dir / "benchmark" / "records.jsonl") == second.records
  assert {r.detector for r in second.records} == {None, "energy"}


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"detectors": ["oden"]}, "unknown detector 'oden'; known: ash, dice"),
    ({"near": ["photos"]}, "unknown near set 'photos'; known: letters"),
    ({"out_sets": ["mnist_5k:3"]}, "out-set mnist_5k:3 holds known classes: 3"),
    ({"tune_on": "letters"}, "tune_on: letters shares images with the out-set letters, and"),
    ({"tune_on": "mnist_5k:0"}, "out-set mnist_5k:0 holds known classes: 0"),
  ],
)
def test_wrong_options_are_named_and_nothing_is_written(trained_run, digits_dir, options, message):
  options = {"out_sets": ["letters"], "detectors": ["odin"], **options}
  with pytest.raises(ValueError, match=message):
    benchmark(trained_run, **options, data_dir=digits_dir)
  assert not (trained_run / "benchmark").exists()


@pytest.mark.slow
def test_tuning_on_the_tested_set_is_done_where_asked_for_and_is_recorded(run_dir, digits_dir):
  result = benchmark(
    run_dir,
    out_sets=["letters"],
    detectors=["odin"],
    tune_on="letters",
    tune_on_test=True,
    data_dir=digits_dir,
  )
  assert {r.tuned_on for r in result.records if r.out_set} == {"letters"}
