"""A run of an earlier version is evaluated, and goes on, as that version would have it.

``earlier_run.tar.xz`` holds two run directories that commit 9c3c3a4 wrote, under Python 3.11 and
JAX 0.10.2 on one CPU device, from the config that is in both. ``stopped`` was interrupted after 20
of its 51 steps, before the step size first decays, and evaluated against the digit 8; ``finished``
is a copy of it that was then trained to its end.
"""

import dataclasses
import json
import tarfile
from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.data import get_spec, write_image
from isomax_jax.evaluation.measure import pass_through
from isomax_jax.models import MODELS, NetworkEntry
from isomax_jax.models._layers import make_layers, spatial_mean
from isomax_jax.reporting import read_results
from isomax_jax.runs import evaluate, load, predict, train
from isomax_jax.runs.directory import open_directory, read_config
from isomax_jax.training import (
  OBJECTIVES,
  Acet,
  Classification,
  FractionalProbability,
  OutlierExposure,
  TrainConfig,
  differences,
  from_json,
  to_json,
)
from isomax_jax.typing import Outputs


class TwoConvolutions(nn.Module):
  """The network of the runs, small enough that they are."""

  head: nn.Module
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images, *, train):
    convolution, norm = make_layers(train=train, dtype=self.dtype, axis_name=self.axis_name)
    x = images.astype(self.dtype)
    for width in (4, 8):
      x = nn.relu(norm()(convolution(width, stride=4)(x)))
    features = spatial_mean(x)
    return Outputs(self.head(features), features)


@pytest.fixture
def runs(tmp_path, monkeypatch):
  entry = NetworkEntry("two_convolutions", TwoConvolutions, "two convolutions")
  monkeypatch.setitem(MODELS._entries, entry.name, entry)
  with tarfile.open(Path(__file__).with_name("earlier_run.tar.xz")) as archive:
    archive.extractall(tmp_path, filter="data")
  return tmp_path


def test_it_is_evaluated(runs, digits_dir):
  def chosen(records):
    found = {(r.metric, r.detector): r.value for r in records}
    keys = ("accuracy", None), ("negative_log_likelihood", None), ("auroc", "entropic_score")
    return [found[key] for key in keys]

  earlier = chosen(read_results(runs / "stopped").records)
  now = chosen(evaluate(runs / "stopped", out_sets=["mnist_5k:8"], data_dir=digits_dir))
  np.testing.assert_allclose(now, earlier, rtol=1e-3)


def test_it_decides_about_images(runs, tmp_path, digits_dir):
  finished = runs / "finished"
  known = load(finished).known
  test, _ = known.load_test(held_out=0, seed=0, data_dir=digits_dir)
  names = [tmp_path / "images" / f"{number}.png" for number in range(9)]
  names[0].parent.mkdir()
  for name, image in zip(names, test.images, strict=False):
    write_image(name, image)
  predictions = predict(finished, names)
  decision = json.loads((finished / "decision.json").read_text())
  logits = pass_through(load(finished).classifier, (test.images[:9], test.labels[:9]))
  logits = logits.outputs.logits.astype(np.float64)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  scores = (p * np.log(p)).sum(-1)
  labels = [known.class_names[row.argmax()] for row in logits]
  assert [prediction.path for prediction in predictions] == names
  assert [prediction.label for prediction in predictions] == labels
  np.testing.assert_allclose([p.score for p in predictions], scores, rtol=1e-5)
  assert [p.known for p in predictions] == (scores >= decision["threshold"]).tolist()


@pytest.mark.slow
def test_it_goes_on_to_the_end_that_it_had(runs, digits_dir):
  stopped, finished = runs / "stopped", runs / "finished"
  with jax.default_device(jax.devices()[0]):
    train(read_config(stopped), stopped, data_dir=digits_dir)
  chex.assert_trees_all_close(
    load(stopped).variables, load(finished).variables, rtol=1e-3, atol=1e-5
  )
  logs = [
    [(line["step"], line["split"], line["loss"]) for line in read_results(run).metrics]
    for run in (stopped, finished)
  ]
  assert [line[:2] for line in logs[0]] == [line[:2] for line in logs[1]]
  np.testing.assert_allclose(*([loss for *_, loss in log] for log in logs), rtol=1e-3)


# As earlier versions wrote an objective: with every option, those of others at their defaults.
EVERY_OPTION = {"outliers": None, "outlier_weight": 0.5, "epsilon": 0.3, "steps": 40}
OBJECTIVES_OF_BEFORE = {
  "classification": ({}, Classification()),
  "fractional_probability": ({}, FractionalProbability()),
  "outlier_exposure": (
    {"outliers": "letters", "outlier_weight": 0.25},
    OutlierExposure(outliers="letters", outlier_weight=0.25),
  ),
  "acet": ({"epsilon": 0.1, "steps": 5}, Acet(epsilon=0.1, steps=5)),
}


def config_of_before(name, **options):
  """Return what an earlier version wrote for an objective."""
  return {**to_json(TrainConfig()), "objective": {"name": name, **EVERY_OPTION, **options}}


def test_every_objective_of_before_is_looked_at():
  assert OBJECTIVES.keys() >= OBJECTIVES_OF_BEFORE.keys()


@pytest.mark.parametrize("name", OBJECTIVES_OF_BEFORE)
def test_a_config_that_holds_every_objectives_options_is_the_one_made_today(name, tmp_path):
  options, objective = OBJECTIVES_OF_BEFORE[name]
  values, today = config_of_before(name, **options), TrainConfig(objective=objective)
  assert from_json(values) == today
  assert differences(from_json(values), today) == differences(today, from_json(values)) == []
  # A run goes on, and says what it is as it is said today.
  spec = get_spec(today.data.name)
  (tmp_path / "config.json").write_text(json.dumps(values))
  with open_directory(tmp_path, today, spec, fresh=False):
    pass
  assert read_config(tmp_path) == today
  assert json.loads((tmp_path / "config.json").read_text())["objective"] == {
    "name": name, **dataclasses.asdict(objective)
  }  # fmt: skip
  # One with another option does not.
  (tmp_path / "config.json").write_text(json.dumps(values))
  other = dataclasses.replace(today, seed=1)
  with (
    pytest.raises(ValueError, match=r"holds a run of another config \(seed: 0 != 1\)"),
    open_directory(tmp_path, other, spec, fresh=False),
  ):
    pass


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    (
      "classification",
      {"steps": 3},
      "objective.steps is an option of acet, got 3 with classification",
    ),
    ("acet", {"outlier_weight": 1.0}, "objective.outlier_weight is an option of outlier_expo.*"),
    ("outlier_exposure", {"outliers": "letters", "epsilon": 0.1}, "objective.epsilon is an .*"),
    (
      "fractional_probability",
      {"outliers": "letters"},
      "objective.outliers is an option of outlier_exposure, got 'letters' with fractional_.*",
    ),
  ],
)
def test_what_another_objective_would_do_is_not_asked_of_one(name, options, message):
  with pytest.raises(ValueError, match=f"^{message}$"):
    from_json(config_of_before(name, **options))
