import contextlib
import dataclasses
import errno
import json
import logging
import shutil
import signal
import subprocess
import sys
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.reporting import read_results
from isomax_jax.runs import evaluate, load, train
from isomax_jax.runs.directory import _lock
from isomax_jax.runs.known_set import find_known_set
from isomax_jax.training import (
  OBJECTIVES,
  Acet,
  Classification,
  DataConfig,
  FractionalProbability,
  ModelConfig,
  Network,
  OptimConfig,
  OutlierExposure,
  RunConfig,
  TrainConfig,
  adversarial_confidence,
  classification,
  create_objective_config,
  exposure,
  fractional_probability,
  to_json,
)
from isomax_jax.training.devices import spread
from isomax_jax.training.interruption import Interrupted, Interruption
from isomax_jax.typing import Batch, Outputs


def test_a_run_directory_holds_what_it_promises(trained_run):
  run = read_results(trained_run)
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
  run = read_results(trained_run)
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


@pytest.mark.parametrize("before", [False, True])
def test_another_start_of_the_blocks_is_another_config(tmp_path, digits_dir, before):
  plain, zeros = (
    TrainConfig(
      data=DataConfig(name="mnist_5k:0,1"),
      model=ModelConfig(name="resnet_small", zero_init_residual=on),
      optim=OptimConfig(epochs=1),
    )
    for on in (False, True)
  )
  values = to_json(plain)
  if before:
    del values["model"]["zero_init_residual"]
  text = json.dumps(values)
  (tmp_path / "config.json").write_text(text)
  message = r"holds a run of another config \(model.zero_init_residual: False != True\)"
  with pytest.raises(ValueError, match=message):
    train(zeros, tmp_path, data_dir=digits_dir)
  assert (tmp_path / "config.json").read_text() == text


def test_a_folder_of_something_else_is_refused(tmp_path):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(ValueError, match="neither empty nor a run directory"):
    train(TrainConfig(), tmp_path, fresh=True)
  assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_directory_that_no_checkpoint_is_read_from_is_refused(tmp_path, digits_dir):
  config = TrainConfig(data=DataConfig(name="mnist_5k:0,1"))
  with pytest.raises(ValueError, match=r"^checkpoints cannot be kept in .*run\[1\]: choose"):
    train(config, tmp_path / "run[1]", data_dir=digits_dir)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
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


def digits_config(*, select="last", learning_rate=0.05, **options):
  return TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    optim=OptimConfig(epochs=4, batch_size=32, learning_rate=learning_rate, select=select),
    run=RunConfig(strategy="sharded", log_epochs=1, validate_epochs=1, **options),
  )


@pytest.mark.slow
def test_the_best_network_is_what_the_run_ends_with(tmp_path, digits_dir, monkeypatch):
  """Accuracies are made up: that after two epochs is the best."""
  accuracies = iter([0.3, 0.9, 0.5, 0.6, 0.8])
  monkeypatch.setattr(
    "isomax_jax.runs._train._validate", lambda *arguments: {"accuracy": next(accuracies)}
  )
  config = digits_config(select="best", checkpoints_kept=1)
  train(config, tmp_path / "run", data_dir=digits_dir)
  best = load(tmp_path / "run")
  assert best.checkpoint == "best on validation"
  chex.assert_trees_all_equal(best.variables, load(tmp_path / "run", epoch=2).variables)
  monkeypatch.undo()
  evaluate(tmp_path / "run", out_sets=["mnist_5k:2"], data_dir=digits_dir)
  run = read_results(tmp_path / "run")
  assert {record.checkpoint for record in run.records} == {"best on validation"}
  scores = run.scores["entropic_score|validation"]
  assert 0.95 <= np.mean(scores >= run.decision["threshold"]) < 1
  # As if it had been killed before its last checkpoint: the best one is what it has got to.
  (*_, last) = sorted((tmp_path / "run/checkpoints").iterdir(), key=lambda path: int(path.name))
  shutil.rmtree(last)
  assert load(tmp_path / "run").epochs == pytest.approx(2, abs=0.25)


def test_an_option_that_is_not_read_back_is_refused_before_anything_is_written(
  tmp_path, digits_dir, monkeypatch
):
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Nested(Classification):
    name = label = "nested"
    shape: tuple[tuple[float, ...], ...] = ((1.0, 2.0),)

  monkeypatch.setitem(OBJECTIVES._entries, "nested", Nested)
  for objective, message in (
    (Nested(), "^config cannot be kept in config.json: .*shape must be tuple"),
    (Acet(epsilon=0.1, steps=np.int64(5)), "^config cannot be kept in config.json: .*int64"),
  ):
    with pytest.raises(ValueError, match=message):
      train(TrainConfig(objective=objective), tmp_path / "new", data_dir=digits_dir)
  assert not (tmp_path / "new").exists()


def test_the_best_network_needs_validation_images():
  with pytest.raises(ValueError, match=r"optim.select best needs validation images, got .*n 0$"):
    TrainConfig(data=DataConfig(validation=0.0), optim=OptimConfig(select="best"))


@pytest.mark.slow
def test_two_processes_do_not_train_in_one_directory(tmp_path, digits_dir):
  code = (
    "import sys; from pathlib import Path; from isomax_jax.runs.directory import _lock\n"
    "with _lock(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
  )
  workdir = tmp_path / "run"
  workdir.mkdir()
  other = subprocess.Popen(
    [sys.executable, "-c", code, workdir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
  )
  assert other.stdout.readline() == b"locked\n"
  with pytest.raises(ValueError, match=r"another process is training in .*run: let it end"):
    train(TrainConfig(), workdir, data_dir=digits_dir)
  assert [path.name for path in workdir.iterdir()] == [".lock"]
  other.kill()
  other.communicate()
  config = TrainConfig(data=DataConfig(name="mnist_5k:0,1"), optim=OptimConfig(epochs=1))
  train(config, workdir, data_dir=digits_dir)  # A lock does not outlive its process.
  assert (workdir / "decision.json").exists()


def test_where_files_cannot_be_locked_a_line_says_so(tmp_path, monkeypatch, caplog):
  def flock(file, operation):
    raise OSError(errno.ENOSYS, "Function not implemented")

  monkeypatch.setattr("fcntl.flock", flock)
  with caplog.at_level(logging.WARNING), _lock(tmp_path):
    pass
  (record,) = caplog.records
  assert record.message == (
    f"{tmp_path} is not locked ([Errno {errno.ENOSYS}] Function not implemented): let no other "
    "process train in it"
  )


@pytest.mark.slow
def test_what_a_run_killed_at_its_start_leaves_is_no_obstacle(tmp_path, digits_dir):
  (tmp_path / ".lock").touch()
  (tmp_path / ".config.json.123.tmp").write_text("{")
  config = TrainConfig(data=DataConfig(name="mnist_5k:0,1"), optim=OptimConfig(epochs=1))
  train(config, tmp_path, data_dir=digits_dir)
  assert (tmp_path / "decision.json").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_an_interval_and_no_number(tmp_path, digits_dir, caplog):
  """The last checkpoint of a stopped run has a flipped bit."""
  config = digits_config(checkpoint_epochs=1)
  runs = tmp_path / "whole", tmp_path / "damaged"
  train(config, runs[0], data_dir=digits_dir)
  with pytest.raises(Interrupted):
    train(config, runs[1], data_dir=digits_dir, interruption=StopAt(20))
  folder = max((runs[1] / "checkpoints").iterdir(), key=lambda path: int(path.name))
  file = max((folder / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
  with pytest.raises(ValueError, match=rf"checkpoint {folder.name} in .* is damaged: state/"):
    load(runs[1])
  with caplog.at_level(logging.WARNING):
    train(config, runs[1], data_dir=digits_dir)
  assert f"checkpoint {folder.name} is damaged" in caplog.text
  chex.assert_trees_all_equal(*(load(run).variables for run in runs))
  rows = [[(r["step"], r["split"], r["loss"]) for r in read_results(run).metrics] for run in runs]
  assert rows[0] == rows[1]


@pytest.mark.by_hand
@pytest.mark.parametrize("name", ["resnet34", "densenet_bc_100"])
def test_the_papers_networks_go_on_bit_for_bit_from_a_stop(tmp_path, digits_dir, name):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    model=ModelConfig(name=name),
    optim=OptimConfig(epochs=1, batch_size=32, learning_rate=0.05),
    run=RunConfig(log_epochs=0.12, checkpoint_minutes=None),
  )
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  train(config, whole, data_dir=digits_dir)
  with pytest.raises(Interrupted, match="stopped at step 4 of 8"):
    train(config, stopped, data_dir=digits_dir, interruption=StopAt(3))
  train(config, stopped, data_dir=digits_dir)
  rows = [
    [(r["step"], r["split"], r["loss"]) for r in read_results(run).metrics]
    for run in (whole, stopped)
  ]
  assert rows[0] == rows[1]
  chex.assert_trees_all_equal(*(load(run).variables for run in (whole, stopped)))


@pytest.mark.slow
@pytest.mark.parametrize("first", ["eight devices", "one device"])
def test_a_run_goes_on_with_other_devices(tmp_path, digits_dir, first):
  # At a low rate: what another order of sums changes is not to grow from step to step.
  config = digits_config(checkpoint_epochs=1, learning_rate=0.01)
  whole, moved = tmp_path / "whole", tmp_path / "moved"
  one = jax.default_device(jax.devices()[1])
  eight = contextlib.nullcontext()
  start, end = (eight, one) if first == "eight devices" else (one, eight)
  train(config, whole, data_dir=digits_dir)
  with start, pytest.raises(Interrupted):
    train(config, moved, data_dir=digits_dir, interruption=StopAt(20))
  with end:
    train(config, moved, data_dir=digits_dir)
  rows = [[(r["step"], r["split"]) for r in read_results(run).metrics] for run in (whole, moved)]
  assert rows[0] == rows[1]
  losses = [[row["loss"] for row in read_results(run).metrics] for run in (whole, moved)]
  np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


@pytest.mark.slow
def test_without_validation_there_is_no_decision(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1", validation=0.0), optim=OptimConfig(epochs=1)
  )
  train(config, tmp_path / "run", data_dir=digits_dir)
  assert not (tmp_path / "run" / "decision.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["softmax", "isomax_plus", "dismax"])
def test_every_head_trains_in_bfloat16(tmp_path, digits_dir, head):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    model=ModelConfig(head=head, dtype="bfloat16"),
    optim=OptimConfig(epochs=6, learning_rate=0.02),
  )
  train(config, tmp_path, data_dir=digits_dir)
  classifier = load(tmp_path).classifier
  examples = data.load("mnist_5k", "test", classes=(0, 1), data_dir=digits_dir)
  scored = pass_through(classifier, examples)
  assert scored.outputs.logits.dtype == np.float32
  assert np.mean(scored.outputs.logits.argmax(-1) == examples.labels) > 0.8


def test_a_set_without_training_images_lists_those_that_have():
  with pytest.raises(
    ValueError, match=r"letters has no images to train on; sets that have: .*mnist"
  ):
    find_known_set(TrainConfig(data=DataConfig(name="letters")))


def test_the_classifier_of_detectors_is_the_network(trained_run, digits_dir):
  classifier = load(trained_run).classifier
  examples = data.load("mnist_5k", "test", classes=(0, 1), data_dir=digits_dir)
  stored = examples.images[:8]
  outputs = pass_through(classifier, (stored, examples.labels[:8])).outputs
  seen = classifier.outputs(stored.astype(np.float32) / 255)
  np.testing.assert_allclose(seen.logits, outputs.logits, rtol=1e-4, atol=1e-5)
  logits = classifier.head(classifier.head_params, outputs.features)
  np.testing.assert_allclose(logits, outputs.logits, rtol=1e-5)


# What the config names, and the same made by hand with the options that differ.
MADE = {
  "classification": ({}, classification, {}),
  "fractional_probability": ({}, fractional_probability, {}),
  "outlier_exposure": (
    {"outliers": "letters", "outlier_weight": 2.0}, exposure, {"weight": 2.0}
  ),
  "acet": (
    {"epsilon": 0.05, "steps": 3},
    lambda prepare, **options: adversarial_confidence(
      prepare,
      lambda key, batch: batch.images / 255,
      data.normalizer(data.SPECS["mnist_5k"]),
      **options,
    ),
    {"epsilon": 0.05, "steps": 3},
  ),
}  # fmt: skip


def test_every_objective_of_the_config_is_made():
  assert OBJECTIVES.keys() == MADE.keys()


def objective_of_step(config, preprocessing, monkeypatch):
  """Return the objective of the step that a config's training takes."""
  steps = []
  monkeypatch.setattr(
    "isomax_jax.training.devices.make_runner", lambda step, *a, **k: steps.append(step)
  )
  spread(config, preprocessing, None, devices=jax.devices()[:1])
  return steps[0].keywords["objective"]


@pytest.mark.parametrize("name", MADE)
def test_an_objective_gets_its_options(name, monkeypatch):
  # Real noise takes seconds to compile.
  monkeypatch.setattr(
    "isomax_jax.training.objectives.acet.low_frequency_noise", lambda key, batch: batch.images
  )
  options, make, expected_options = MADE[name]
  settings = TrainConfig(
    model=ModelConfig(entropic_scale=3.0), objective=create_objective_config(name, options)
  )
  preprocessing = find_known_set(settings).preprocessing
  images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 8, 1)).astype(np.uint8)
  batch = Batch(images[0], jnp.arange(8) % 2, jnp.arange(8), outliers=images[1])

  def infer(images):
    return Outputs(0.1 * images[:, 4, 4:6, 0], images)

  network = Network(lambda images: (infer(images), {}), infer)
  losses = [
    jax.jit(partial(objective, network))(jax.random.key(0), batch).values
    for objective in (
      objective_of_step(settings, preprocessing, monkeypatch),
      make(preprocessing.prepare, entropic_scale=3.0, **expected_options),
    )
  ]
  np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_batch_that_mosaics_do_not_divide_is_refused_before_anything_is_written(tmp_path):
  settings = TrainConfig(objective=FractionalProbability(), optim=OptimConfig(batch_size=40))
  with pytest.raises(
    ValueError, match=r"batch_size must be a multiple of 64 .*, got 40; nearest: 64$"
  ):
    train(settings, tmp_path / "run")
  assert not (tmp_path / "run").exists()


class StopAt(Interruption):
  """Asks to stop when it has been looked at a number of times."""

  def __init__(self, looks):
    super().__init__()
    self._left = looks

  def __bool__(self):
    self._left -= 1
    if self._left < 0:
      self.signal = signal.SIGINT
    return self.signal is not None


def exposed(**run):
  return TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    objective=OutlierExposure(outliers="mnist_5k:8,9"),
    optim=OptimConfig(epochs=1, batch_size=32, learning_rate=0.05),
    run=RunConfig(strategy="sharded", log_epochs=0.12, **run),
  )


@pytest.fixture(scope="module")
def exposed_run(tmp_path_factory, digits_dir):
  """A network that learns from two other digits as outliers."""
  run_dir = tmp_path_factory.mktemp("exposed") / "run"
  train(exposed(), run_dir, data_dir=digits_dir)
  return run_dir


@pytest.mark.slow
def test_a_resumed_run_with_outliers_equals_one_without_a_stop(exposed_run, tmp_path, digits_dir):
  """Both sets are read from disk by the one, and kept on the device by the other."""
  streamed = exposed(pipeline="stream")
  with pytest.raises(Interrupted, match="stopped at step 4 of 8"):
    train(streamed, tmp_path / "run", data_dir=digits_dir, interruption=StopAt(3))
  train(streamed, tmp_path / "run", data_dir=digits_dir)
  rows = {}
  for run_dir in (exposed_run, tmp_path / "run"):
    rows[run_dir] = [
      (row["split"], row["loss"], row["entropy"]) for row in read_results(run_dir).metrics
    ]
  assert len(rows[exposed_run]) == 9
  assert rows[tmp_path / "run"] == rows[exposed_run]
  chex.assert_trees_all_equal(
    *(load(run_dir).variables for run_dir in (exposed_run, tmp_path / "run"))
  )


def test_outliers_that_are_known_or_do_not_fit_leave_nothing_behind(tmp_path):
  for outliers, message in (
    ("mnist_5k:1,2", "objective.outliers mnist_5k:1,2 holds known classes: 1"),
    ("cifar10", r"objective.outliers cifar10 must have images of shape \(28, 28, 1\)"),
  ):
    objective = dataclasses.replace(exposed().objective, outliers=outliers)
    with pytest.raises(ValueError, match=message):
      train(dataclasses.replace(exposed(), objective=objective), tmp_path / "run")
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_is_not_measured_on_its_outliers(exposed_run, digits_dir):
  records = evaluate(exposed_run, out_sets=["mnist_5k:7", "photos"], data_dir=digits_dir)
  assert {(r.objective, r.outliers) for r in records} == {("outlier_exposure", "mnist_5k:8,9")}
  for out_set in ("mnist_5k:7,8", "mnist_5k:9"):
    message = f"out-set {out_set} is not unknown: the network learnt from mnist_5k:8,9 as outliers"
    with pytest.raises(ValueError, match=message):
      evaluate(exposed_run, out_sets=[out_set], data_dir=digits_dir)


@pytest.mark.slow
def test_acet_trains(tmp_path, digits_dir):
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0,1"),
    model=ModelConfig(head="softmax"),
    objective=Acet(steps=2),
    optim=OptimConfig(epochs=1, batch_size=16, learning_rate=0.02),
    run=RunConfig(strategy="sharded", log_epochs=0.25),
  )
  train(config, tmp_path, data_dir=digits_dir)
  losses = [row["loss"] for row in read_results(tmp_path).metrics if row["split"] == "train"]
  assert np.mean(losses[2:]) < losses[0] - 0.1
