import shutil

import numpy as np
import pytest
from scipy.special import log_softmax

from isomax_jax import data, metrics
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.reporting import read_results
from isomax_jax.runs import evaluate, load


def test_records_are_the_metrics_of_the_saved_scores(trained_run):
  run = read_results(trained_run)
  assert {r.out_set for r in run.records} == {None, "mnist_5k:4-9", "letters", "photos"}
  for record in run.records:
    assert (record.in_set, record.head, record.epochs) == ("mnist_5k:0-3", "isomax", 6)
    if record.detector is None:
      assert (record.n_in, record.n_out) == (1400, 0)
      continue
    in_scores = run.scores[f"{record.detector}|test"]
    out_scores = run.scores[f"{record.detector}|{record.out_set}"]
    assert (record.n_in, record.n_out) == (len(in_scores), len(out_scores))
    assert record.value == getattr(metrics, record.metric)(in_scores, out_scores)
  counts = {r.out_set: r.n_out for r in run.records if r.out_set}
  assert counts == {"mnist_5k:4-9": 3000, "letters": 630, "photos": 660}


def test_accuracy_is_that_of_the_network(trained_run, digits_dir):
  test = data.load("mnist_5k", "test", classes=(0, 1, 2, 3), data_dir=digits_dir)
  logits = pass_through(load(trained_run).classifier, test).outputs.logits
  (record,) = [r for r in read_results(trained_run).records if r.metric == "accuracy"]
  assert record.value == np.mean(logits.argmax(-1) == test.labels) > 0.8


def test_entropic_scores_are_the_formula_of_the_logits(trained_run, digits_dir):
  letters = data.load("letters", "test", data_dir=digits_dir)
  logits = pass_through(load(trained_run).classifier, letters).outputs.logits.astype(np.float64)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  scores = read_results(trained_run).scores["entropic_score|letters"]
  np.testing.assert_allclose(scores, (p * np.log(p)).sum(-1), rtol=1e-5)


def test_probabilities_are_measured_at_the_temperature_too(trained_run, digits_dir):
  run = read_results(trained_run)
  test = data.load("mnist_5k", "test", classes=(0, 1, 2, 3), data_dir=digits_dir)
  logits = pass_through(load(trained_run).classifier, test).outputs.logits.astype(np.float64)
  values = {r.metric: r.value for r in run.records if r.detector is None}
  temperature = run.decision["temperature"]
  assert run.calibration.temperature == temperature < 1
  for kind, divisor, found in (
    ("", 1, run.calibration.before), ("calibrated_", temperature, run.calibration.after),
  ):  # fmt: skip
    log_p = log_softmax(logits / divisor, axis=1)
    nll = -log_p[np.arange(len(logits)), test.labels].mean()
    assert values[f"{kind}negative_log_likelihood"] == pytest.approx(nll, rel=1e-12)
    confidence, is_right = np.exp(log_p.max(1)), log_p.argmax(1) == test.labels
    bins = np.ceil(15 * confidence)
    error = sum(abs(np.sum((is_right - confidence)[bins == b])) for b in range(16)) / len(logits)
    assert values[f"{kind}expected_calibration_error"] == pytest.approx(error, rel=1e-9)
    assert found.calibration_error == pytest.approx(error, rel=1e-9)
  assert values["calibrated_negative_log_likelihood"] < values["negative_log_likelihood"]


def test_without_a_temperature_nothing_is_calibrated(trained_run, tmp_path, digits_dir):
  run_dir = shutil.copytree(trained_run, tmp_path / "run")
  (run_dir / "decision.json").unlink()
  records = evaluate(run_dir, out_sets=["letters"], data_dir=digits_dir)
  assert not [r for r in records if r.metric.startswith("calibrated")]
  assert read_results(run_dir).calibration is None


def test_examples_are_the_extremes(trained_run):
  run = read_results(trained_run)
  scores = np.sort(run.scores["entropic_score|letters"])
  np.testing.assert_array_equal(run.examples["letters|lowest|scores"], scores[:8])
  np.testing.assert_array_equal(run.examples["letters|highest|scores"], scores[::-1][:8])
  assert run.examples["letters|highest"].shape == (8, 28, 28, 1)


def test_known_classes_are_no_out_set(trained_run, digits_dir):
  with pytest.raises(ValueError, match="out-set mnist_5k:3,4 holds known classes: 3"):
    evaluate(trained_run, out_sets=["mnist_5k:3,4"], data_dir=digits_dir)
  with pytest.raises(ValueError, match="holds known classes: 0, 1, 2, 3"):
    evaluate(trained_run, out_sets=["mnist_5k"], data_dir=digits_dir)
  with pytest.raises(ValueError, match="unknown data set 'digits'"):
    evaluate(trained_run, out_sets=["digits"], data_dir=digits_dir)


def test_what_is_no_run_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"not a run directory: config.json is missing"):
    evaluate(tmp_path)
