"""A run of an earlier version is evaluated, and goes on, as that version would have it.

``earlier_run.tar.xz`` holds two run directories that commit 9c3c3a4 wrote, under Python 3.11 and
JAX 0.10.2 on one CPU device, from the config that is in both. ``stopped`` was interrupted after 20
of its 51 steps, before the step size first decays, and evaluated against the digit 8; ``finished``
is a copy of it that was then trained to its end.
"""

import tarfile
from pathlib import Path

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.evaluation import read_run
from isomax_jax.jobs.evaluate import evaluate
from isomax_jax.jobs.train import train
from isomax_jax.jobs.trained import load_trained, read_config
from isomax_jax.models import MODELS
from isomax_jax.models._layers import make_layers, spatial_mean
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
  monkeypatch.setitem(MODELS, "two_convolutions", TwoConvolutions)
  with tarfile.open(Path(__file__).with_name("earlier_run.tar.xz")) as archive:
    archive.extractall(tmp_path, filter="data")
  return tmp_path


def test_it_is_evaluated(runs, digits_dir):
  def chosen(records):
    found = {(r.metric, r.detector): r.value for r in records}
    keys = ("accuracy", None), ("negative_log_likelihood", None), ("auroc", "entropic_score")
    return [found[key] for key in keys]

  earlier = chosen(read_run(runs / "stopped").records)
  now = chosen(evaluate(runs / "stopped", out_sets=["mnist_5k:8"], data_dir=digits_dir))
  np.testing.assert_allclose(now, earlier, rtol=1e-3)


def test_it_goes_on_to_the_end_that_it_had(runs, digits_dir):
  stopped, finished = runs / "stopped", runs / "finished"
  with jax.default_device(jax.devices()[0]):
    train(read_config(stopped), stopped, data_dir=digits_dir)
  chex.assert_trees_all_close(
    load_trained(stopped).variables, load_trained(finished).variables, rtol=1e-3, atol=1e-5
  )
  logs = [
    [(line["step"], line["split"], line["loss"]) for line in read_run(run).metrics]
    for run in (stopped, finished)
  ]
  assert [line[:2] for line in logs[0]] == [line[:2] for line in logs[1]]
  np.testing.assert_allclose(*([loss for *_, loss in log] for log in logs), rtol=1e-3)
