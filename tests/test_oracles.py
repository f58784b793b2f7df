"""The oracles' analytic gradients against differences of their values: no library involved."""

import inspect

import numpy as np
import pytest

from tests import oracles

GENERATOR = np.random.default_rng(0)
FEATURES, PROTOTYPES = GENERATOR.normal(size=(3, 2, 5)), GENERATOR.normal(size=(4, 5))
LOGITS, LABELS = 2 * GENERATOR.normal(size=(3, 2, 4)), GENERATOR.integers(0, 4, (3, 2))
OPTIONS = {
  "scaled_cross_entropy": {"entropic_scale": 3.0},
  "outlier_exposure": {"entropic_scale": 3.0},
  "energy": {"temperature": 2.0},
}
WITH_GRADIENT = sorted(
  name.removesuffix("_gradient")
  for name in vars(oracles)
  if name.endswith("_gradient") and name[0] != "_"
)


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_gradients_are_the_differences_of_values(name):
  value, gradient = getattr(oracles, name), getattr(oracles, f"{name}_gradient")
  options = OPTIONS.get(name, {})
  by_name = {
    "features": FEATURES,
    "prototypes": PROTOTYPES,
    "distance_scale": np.float64(-1.5),
    "logits": LOGITS,
    "labels": LABELS,
  }
  takes = [parameter for parameter in inspect.signature(value).parameters if parameter in by_name]
  arguments = [by_name[parameter] for parameter in takes]
  moving = [i for i, parameter in enumerate(takes) if parameter != "labels"]

  def of_moving(*points):
    full = list(arguments)
    for i, point in zip(moving, points, strict=True):
      full[i] = point
    return value(*full, **options)

  points = [arguments[i] for i in moving]
  directions = [GENERATOR.normal(size=np.shape(point)) for point in points]
  cotangent = GENERATOR.normal(size=value(*arguments, **options).shape)
  expected = (cotangent * oracles.directional_derivative(of_moving, points, directions)).sum()

  gradients = gradient(*arguments, cotangent, **options)
  gradients = gradients if isinstance(gradients, tuple) else (gradients,)
  actual = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
  np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_tiny_losses_and_entropies_keep_their_digits():
  logits = np.array([[0.0, -60.0]])
  loss = oracles.scaled_cross_entropy(logits, np.array([0]), entropic_scale=1.0)
  np.testing.assert_allclose(loss, np.exp(-60), rtol=1e-12)
  np.testing.assert_allclose(oracles.entropic_score(logits), -61 * np.exp(-60), rtol=1e-12)
  np.testing.assert_allclose(oracles.log_odds(logits), 60, rtol=1e-12)


def test_convolution_of_one_pixel_is_the_flipped_kernel():
  image, kernel = np.zeros((1, 5, 5, 1)), np.arange(9.0).reshape(3, 3, 1, 1)
  image[0, 2, 2, 0] = 1
  out = oracles.convolution(image, kernel, stride=1, padding=1)[0, 1:4, 1:4, 0]
  np.testing.assert_array_equal(out, kernel[::-1, ::-1, 0, 0])
  assert oracles.convolution(image, kernel, stride=2, padding=1).shape == (1, 3, 3, 1)
