"""Training from arrays on the device and from records on disk, and on a user's own images."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.data.out_sets import default_out_sets
from isomax_jax.reporting import read_results
from isomax_jax.runs import evaluate, predict, train
from isomax_jax.runs.known_set import find_known_set, find_splits
from isomax_jax.training import DataConfig, OptimConfig, RunConfig, TrainConfig
from tests.data import miniature

INSECTS = "image_folder/insects-16x16x3"


def config_of(name, **run):
  return TrainConfig(
    data=DataConfig(name=name, validation=0.2),
    optim=OptimConfig(epochs=3, batch_size=32),
    run=RunConfig(strategy="sharded", **run),
  )


@pytest.fixture(scope="module")
def insects(tmp_path_factory):
  """A folder of images of two kinds, prepared, and a network trained on it."""
  folder = tmp_path_factory.mktemp("insects")
  miniature.image_tree(folder / "insects", sides=(16, 16), per_class=40)
  data.prepare(INSECTS, data_dir=folder / "sets", manual_dir=folder)
  train(config_of(INSECTS), folder / "run", data_dir=folder / "sets")
  return folder


@pytest.mark.slow
def test_both_pipelines_train_the_same_network(insects, tmp_path):
  train(config_of(INSECTS, pipeline="stream"), tmp_path / "run", data_dir=insects / "sets")
  metrics = {}
  for folder in (insects, tmp_path):
    rows = read_results(folder / "run").metrics
    metrics[folder] = [(row["step"], row["loss"], row["accuracy"]) for row in rows]
  assert len(metrics[insects]) == 4
  assert metrics[tmp_path] == metrics[insects]
  # A run may go on with the other.
  train(config_of(INSECTS, workers=1), tmp_path / "run", data_dir=insects / "sets")


@pytest.mark.parametrize(
  ("pipeline", "images", "streamed"),
  [
    ("auto", 349_525, False),
    ("auto", 349_526, True),
    ("stream", 1, True),
    ("resident", 10**9, False),
  ],
)
def test_images_that_take_a_gibibyte_are_streamed(pipeline, images, streamed):
  spec = dataclasses.replace(data.SPECS["cifar10"], splits={"train": images, "test": 10**9})
  config = config_of("cifar10", pipeline=pipeline)
  known = find_known_set(config, find=lambda name: spec)
  (split,) = find_splits(config, known, data_dir=None)
  assert split.streamed == streamed


@pytest.mark.slow
def test_own_images_from_folder_to_decision(insects, tmp_path):
  run_dir = shutil.copytree(insects / "run", tmp_path / "elsewhere")
  evaluate(run_dir, out_sets=["uniform_noise/16x16x3"], data_dir=insects / "sets")
  assert {r.in_set for r in read_results(run_dir).records} == {INSECTS}
  # Where the run was taken, the set itself is not known.
  files = sorted((insects / "insects" / "test").glob("*/*.png"))[::16]
  predictions = predict(run_dir, files)
  assert [p.path for p in predictions] == files
  assert {p.label for p in predictions} <= {"ant", "bee"}


@pytest.mark.slow
def test_a_run_keeps_the_description_of_its_set(insects, tmp_path):
  run_dir = shutil.copytree(insects / "run", tmp_path / "run")
  sets = shutil.copytree(insects / "sets", tmp_path / "sets")
  description = data.spec_from_json(json.loads((run_dir / "data.json").read_text()))
  assert description == data.get_spec(INSECTS, data_dir=sets)
  path = sets / INSECTS / "1.0.0" / "spec.json"
  path.write_text(path.read_text().replace('"bee"', '"moth"'))
  message = f"^{run_dir} holds a run on {INSECTS} with other class_names; choose another directory"
  with pytest.raises(ValueError, match=message):
    train(config_of(INSECTS), run_dir, data_dir=sets)
  (run_dir / "data.json").write_text("{")
  with pytest.raises(ValueError, match=f"^{run_dir}/data.json: "):
    evaluate(run_dir, out_sets=[], data_dir=sets)


def test_prepared_sets_that_fit_are_default_out_sets(tmp_path, monkeypatch):
  noise = ["uniform_noise/32x32x3", "gaussian_noise/32x32x3"]
  assert default_out_sets(data.parse_reference("cifar10"), data_dir=tmp_path) == noise
  spec = dataclasses.replace(data.SPECS["cifar100"], splits={"train": 200, "test": 100})
  monkeypatch.setitem(data.SPECS._entries, "cifar100", spec)
  miniature.cifar100(tmp_path, spec.class_names)
  data.prepare("cifar100", data_dir=tmp_path, manual_dir=tmp_path)
  assert default_out_sets(data.parse_reference("cifar10:1-9"), data_dir=tmp_path) == [
    "cifar10:0", "cifar100", *noise
  ]  # fmt: skip
  assert default_out_sets(data.parse_reference("cifar100"), data_dir=tmp_path) == noise
  assert np.array_equal(
    default_out_sets(data.parse_reference("mnist_5k"), data_dir=tmp_path), ["letters", "photos"]
  )
