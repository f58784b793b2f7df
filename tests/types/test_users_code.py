"""What the type checker accepts of a user's code is true at run time."""

import inspect

import numpy as np
import pytest

from isomax_jax import _registry, data
from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.training import OBJECTIVES
from tests.types import users_code

# Those without arguments; what takes a run is called below, what is refused never.
CALLED = [
  function
  for function in vars(users_code).values()
  if inspect.isfunction(function)
  and function.__module__ == users_code.__name__
  and not inspect.signature(function).parameters
]


@pytest.mark.slow
@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.__name__)
def test_accepted_code_runs(function, monkeypatch):
  monkeypatch.setattr(_registry, "_ADDED", list(_registry._ADDED))
  for registry in (HEADS, DETECTORS, OBJECTIVES):
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
  function()


@pytest.mark.slow
def test_a_run_is_read(trained_run, tmp_path):
  image = tmp_path / "image.png"
  data.write_image(image, np.zeros((28, 28, 1), np.uint8))
  summaries = users_code.read_a_run(trained_run, image)
  assert summaries[None, None, "accuracy"].n == 1
