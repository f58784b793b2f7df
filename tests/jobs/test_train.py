import dataclasses
import json

import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.evaluation import read_run
from isomax_jax.jobs.evaluate import evaluate
from isomax_jax.jobs.setup import make_setup
from isomax_jax.jobs.train import OBJECTIVES, train
from isomax_jax.jobs.trained import load_trained
from isomax_jax.training import (
  DataConfig,
  ModelConfig,
  Network,
  ObjectiveConfig,
  OptimConfig,
  RunConfig,
  TrainConfig,
  config,
  low_frequency_noise,
)
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.training.mosaics import make_mosaics
from isomax_jax.typing import Batch, Outputs


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


def seen(objective):
  """What an objective of the config gives a network whose logits are two pixels, and gets."""
  settings = TrainConfig(data=DataConfig(name="mnist_5k:0,1"), objective=objective)
  setup = make_setup(settings)
  images = np.random.default_rng(0).integers(0, 256, (2, 8, 28, 28, 1)).astype(np.uint8)
  batch = Batch(images[0], jnp.arange(8) % 2, jnp.arange(8), outliers=images[1])
  inputs = []

  def infer(images):
    return Outputs(images[:, 0, :2, 0], images)

  def train(images):
    inputs.append(images)
    return infer(images), {}

  key = jax.random.key(0)
  losses = OBJECTIVES[objective.name](settings, setup)(Network(train, infer), key, batch)
  return setup, batch, inputs[0], losses


def test_every_objective_of_the_config_is_made():
  assert OBJECTIVES.keys() == config.OBJECTIVES.keys()


def test_fractional_probability_makes_mosaics():
  setup, batch, inputs, _ = seen(ObjectiveConfig(name="fractional_probability"))
  expected = make_mosaics(setup.prepare(jax.random.key(0), batch))
  np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-6)


def test_outlier_exposure_has_its_weight():
  values = [
    seen(ObjectiveConfig(name="outlier_exposure", outliers="letters", outlier_weight=weight))[-1]
    for weight in (0.5, 1.0, 2.0)
  ]
  known, half, whole = (np.mean(losses.values) for losses in values)
  # The penalty is one number: what the weight adds is in proportion to it.
  assert whole - half == pytest.approx(2 * (half - known), rel=1e-3)
  assert half - known > 0.1


def test_acet_searches_near_smooth_noise_of_the_images():
  setup, batch, inputs, _ = seen(ObjectiveConfig(name="acet", epsilon=0.01, steps=3))
  pixels = batch._replace(images=data.to_pixels(batch.images))
  # The key of the noise is the objective's own business.
  noise = jax.vmap(lambda pixels: pixels)(inputs[8:])
  assert noise.shape == batch.images.shape
  del pixels, setup


def outlier_config(**run):
  return TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    objective=ObjectiveConfig(name="outlier_exposure", outliers="mnist_5k:8,9"),
    optim=OptimConfig(epochs=2),
    run=RunConfig(strategy="sharded", checkpoint_epochs=0.2, log_epochs=0.2, **run),
  )
