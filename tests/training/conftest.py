"""What trains the tiny network."""

from functools import partial

import jax
import numpy as np
import pytest

from isomax_jax.data import resident
from isomax_jax.training import OptimConfig, classification, create_state, train_step
from isomax_jax.training.optim import learning_rates, sgd
from tests.training.tiny import CLASSES, SHAPE, TinyNetwork, prepare


@pytest.fixture(scope="session")
def examples():
  """Images whose brightness depends on the class, so that there is something to learn."""
  generator = np.random.default_rng(0)
  labels = np.arange(40, dtype=np.int32) % CLASSES
  images = generator.integers(0, 100, (40, *SHAPE)) + 60 * labels[:, None, None, None]
  return resident.make_source(images.astype(np.uint8), labels)


@pytest.fixture(scope="session")
def make_step():
  """The train step, over an axis or not."""

  def make(axis_name=None, objective=None, **options):
    objective = objective or classification(prepare, entropic_scale=10.0)
    return partial(train_step, objective=objective, axis_name=axis_name, **options)

  return make


@pytest.fixture(scope="session")
def make_state():
  """A state at step 0."""

  def make(axis_name=None, total_steps=10):
    config = OptimConfig(learning_rate=0.01)
    rates = learning_rates(config, total_steps=total_steps)
    network, key = TinyNetwork(axis_name), jax.random.key(0)
    return create_state(network, sgd(config), key, SHAPE, learning_rates=rates)

  return make
