import numpy as np
import pytest
from PIL import Image

from isomax_jax import data
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.reporting import read_results
from isomax_jax.runs import Prediction, Refusal, load, predict


@pytest.fixture(scope="module")
def digit_files(tmp_path_factory, digits_dir):
  """Known test images as files, with their labels."""
  folder = tmp_path_factory.mktemp("digits")
  examples = data.load("mnist_5k", "test", classes=(0, 1, 2, 3), data_dir=digits_dir)
  for index in range(0, 1400, 20):
    Image.fromarray(examples.images[index, ..., 0]).save(folder / f"{index:04d}.png")
  return folder, examples.labels[::20], examples.images[::20]


def test_predictions_follow_from_logits_temperature_and_threshold(trained_run, digit_files):
  folder, labels, images = digit_files
  predictions = predict(trained_run, [folder])
  decision = read_results(trained_run).decision
  scored = pass_through(load(trained_run).classifier, (images, labels))
  logits = scored.outputs.logits.astype(np.float64)
  scaled = np.exp(logits / decision["temperature"])
  probabilities = scaled / scaled.sum(-1, keepdims=True)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  scores = (p * np.log(p)).sum(-1)
  assert [prediction.path.name for prediction in predictions] == sorted(
    path.name for path in folder.iterdir()
  )
  for prediction, row, score in zip(predictions, probabilities, scores, strict=True):
    assert prediction.label == "0123"[row.argmax()]
    np.testing.assert_allclose(prediction.probability, row.max(), rtol=1e-4)
    np.testing.assert_allclose(prediction.score, score, rtol=1e-5)
    assert prediction.known == (prediction.score >= decision["threshold"])
  right = np.mean([int(p.label) == label for p, label in zip(predictions, labels, strict=True)])
  assert right > 0.8
  # Most, not 95 %: it is the TPR of the training's own held-out images, and of few images here.
  assert np.mean([prediction.known for prediction in predictions]) > 0.5


def test_a_bad_file_is_refused_and_the_others_are_answered(trained_run, digit_files, tmp_path):
  good = sorted(digit_files[0].iterdir())[0]
  (tmp_path / "a.png").write_bytes(good.read_bytes())
  (tmp_path / "b.png").write_bytes(good.read_bytes()[:60])
  (tmp_path / "c.png").write_bytes(b"")
  (tmp_path / "d.png").write_bytes(good.read_bytes())
  first, truncated, empty, last = predict(trained_run, [tmp_path])
  assert isinstance(first, Prediction)
  assert isinstance(last, Prediction)
  assert first._replace(path=last.path) == last
  assert isinstance(truncated, Refusal)
  assert isinstance(empty, Refusal)
  assert "b.png" in truncated.reason
  assert "c.png" in empty.reason


def test_only_bad_files_make_only_refusals(trained_run, tmp_path):
  (tmp_path / "a.png").write_text("no image")
  (answer,) = predict(trained_run, [tmp_path / "a.png"])
  assert isinstance(answer, Refusal)


def test_a_run_without_a_decision_says_what_is_missing(trained_run, tmp_path):
  (tmp_path / "config.json").write_bytes((trained_run / "config.json").read_bytes())
  with pytest.raises(ValueError, match=r"has no decision.json: train it to the end"):
    predict(tmp_path, ["x.png"])


def test_a_run_without_a_checkpoint_says_so(trained_run, tmp_path):
  for name in ("config.json", "decision.json"):
    (tmp_path / name).write_bytes((trained_run / name).read_bytes())
  Image.new("L", (28, 28)).save(tmp_path / "x.png")
  with pytest.raises(ValueError, match="has no checkpoint yet: train it first"):
    predict(tmp_path, [tmp_path / "x.png"])
