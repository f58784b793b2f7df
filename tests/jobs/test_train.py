import dataclasses
import json

import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.evaluation import read_run
from isomax_jax.jobs.setup import make_setup
from isomax_jax.jobs.train import train
from isomax_jax.jobs.trained import load_trained
from isomax_jax.training import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig


def test_a_run_directory_holds_what_it_promises(trained_run):
  run = read_run(trained_run)
  assert run.config["data"]["name"] == "mnist_5k:0-3"
  assert run.environment["versions"]["jax"]
  losses = [row["loss"] for row in run.metrics if row["split"] == "train"]
  assert len(losses) == 6
  assert losses[-1] < 0.5 * losses[0]
  assert [row["epoch"] for row in run.metrics if row["split"] == "validation"] == [
    pytest.approx(6, rel=0.02)
  ]
  assert (trained_run / "checkpoints").is_dir()


def test_the_threshold_accepts_95_percent_of_the_held_out_images(trained_run, digits_dir):
  run = read_run(trained_run)
  scores = run.scores["entropic_score|validation"]
  assert run.decision["examples"] == len(scores) == 120  # 30 of 150 images of each of 4 digits
  assert run.decision["detector"] == "entropic_score"
  assert run.decision["class_names"] == list("0123")
  accepted = np.mean(scores >= run.decision["threshold"])
  assert 0.95 <= accepted <= 0.96
  assert 0 < run.decision["temperature"] < 1  # IsoMax's own probabilities are low by design.


def test_no_validation_image_was_trained_on(digits_dir):
  examples = data.load("mnist_5k", "train", classes=(0, 1), data_dir=digits_dir)
  training, validation = data.split_validation(examples, 0.2, seed=0)
  seen = {image.tobytes() for image in training.images}
  assert len(training.labels) + len(validation.labels) == 300
  assert not seen & {image.tobytes() for image in validation.images}


def test_another_config_is_refused_and_changes_nothing(trained_run):
  before = (trained_run / "config.json").read_bytes()
  config = TrainConfig(model=ModelConfig(head="softmax"), seed=1)
  with pytest.raises(ValueError, match=r"holds a run of another config \(.*model.head: 'isomax'"):
    train(config, trained_run)
  assert (trained_run / "config.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(ValueError, match="neither empty nor a run directory"):
    train(TrainConfig(), tmp_path, fresh=True)
  assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_fresh_starts_over_and_keeps_strangers_files(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    optim=OptimConfig(epochs=1),
    run=RunConfig(tensorboard=True),
  )
  train(config, tmp_path / "run", data_dir=digits_dir)
  (tmp_path / "run" / "notes.txt").write_text("mine")
  other = dataclasses.replace(config, seed=5)
  train(other, tmp_path / "run", data_dir=digits_dir, fresh=True)
  assert json.loads((tmp_path / "run" / "config.json").read_text())["seed"] == 5
  assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
  assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


def test_without_validation_there_is_no_decision(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=0.0), optim=OptimConfig(epochs=1)
  )
  train(config, tmp_path / "run", data_dir=digits_dir)
  assert not (tmp_path / "run" / "decision.json").exists()


@pytest.mark.parametrize("head", ["softmax", "isomax_plus", "dismax"])
def test_every_head_trains_in_bfloat16(tmp_path, digits_dir, head):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    model=ModelConfig(head=head, dtype="bfloat16"),
    optim=OptimConfig(epochs=6, learning_rate=0.02),
  )
  train(config, tmp_path, data_dir=digits_dir)
  trained = load_trained(tmp_path)
  examples = data.load("mnist_5k", "test", classes=(0, 1), data_dir=digits_dir)
  scored = trained.score(*examples)
  assert scored.outputs.logits.dtype == np.float32
  assert np.mean(scored.outputs.logits.argmax(-1) == examples.labels) > 0.8


def test_a_set_without_training_images_lists_those_that_have():
  with pytest.raises(
    ValueError, match=r"letters has no images to train on; sets that have: .*mnist"
  ):
    make_setup(TrainConfig(data=DataConfig(name="letters")))


def test_the_classifier_of_detectors_is_the_network(trained_run, digits_dir):
  trained = load_trained(trained_run)
  examples = data.load("mnist_5k", "test", classes=(0, 1), data_dir=digits_dir)
  stored = examples.images[:8]
  outputs = trained.score(stored, examples.labels[:8]).outputs
  seen = trained.classifier.outputs(stored.astype(np.float32) / 255)
  np.testing.assert_allclose(seen.logits, outputs.logits, rtol=1e-4, atol=1e-5)
  logits = trained.classifier.head(trained.classifier.head_params, outputs.features)
  np.testing.assert_allclose(logits, outputs.logits, rtol=1e-5)
