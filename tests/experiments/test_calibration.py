import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from experiments import calibration
from isomax_jax import data
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.reporting import read_results
from isomax_jax.runs import load
from tests import oracles


@pytest.mark.slow
def test_a_run_is_measured_at_its_temperature_too(trained_run, digits_dir):
  records = calibration.measure_calibrated(trained_run, data_dir=digits_dir)
  values = {(r.detector, r.out_set, r.metric): r.value for r in records}
  temperature = read_results(trained_run).decision["temperature"]
  assert values[None, None, "temperature"] == temperature
  known = data.load("mnist_5k", "test", classes=(0, 1, 2, 3), data_dir=digits_dir)
  letters = data.load("letters", "test", data_dir=digits_dir)
  classifier = load(trained_run).classifier
  logits = [
    np.float64(pass_through(classifier, examples).outputs.logits) for examples in (known, letters)
  ]
  is_known = np.repeat([1, 0], [len(each) for each in logits])
  logits = np.concatenate(logits)
  for name, score in (
    ("entropic_score", oracles.entropic_score), ("maximum_probability", oracles.log_odds),
  ):  # fmt: skip
    for detector, divisor in ((name, 1), (f"calibrated_{name}", temperature)):
      expected = roc_auc_score(is_known, score(logits / divisor))
      assert values[detector, "letters", "auroc"] == pytest.approx(expected, abs=1e-5)
  assert values["entropic_score", "letters", "auroc"] != pytest.approx(
    values["calibrated_entropic_score", "letters", "auroc"], abs=1e-4
  )
  assert {r.metric for r in records} == {*calibration.METRICS, "temperature"}


def test_a_run_without_a_temperature_is_refused(tmp_path):
  (tmp_path / "config.json").write_text(
    '{"data": {"name": "mnist_5k"}, "seed": 0, "model": {"name": "small_cnn", "head": "isomax"}}'
  )
  with pytest.raises(ValueError, match=r"has no decision\.json, so there is no temperature$"):
    calibration.measure_calibrated(tmp_path, data_dir=None)
