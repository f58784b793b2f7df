"""GradNorm against gradients that are known by hand, of linear and distance heads."""

import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import Classifier, Unsupported, create_detector, gradnorm
from isomax_jax.losses import isomax_logits, isomax_plus_logits
from isomax_jax.typing import Outputs
from tests import oracles


def draw(classes=3, features=4, count=5):
  generator = np.random.default_rng(0)
  shapes = ((count, features), (features, classes), (classes,), (classes, features))
  return [np.float32(generator.normal(size=shape)) for shape in shapes]


def by_logits(logits, *, temperature):
  """Return the gradient of KL(u, softmax(L / T)) by the logits."""
  return (oracles.softmax(logits / temperature) - 1 / logits.shape[-1]) / temperature


def linear_logits(params, features):
  logits = features @ params["kernel"]
  return logits + jnp.broadcast_to(params["bias"], logits.shape)


def score(head, head_params, features, **options):
  classifier = Classifier(outputs=None, head=head, head_params=head_params)
  outputs = Outputs(head(head_params, features), features)
  return gradnorm(**options).score((), classifier, None, outputs)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_linear_head(temperature):
  features, kernel, bias, _ = draw()
  logits = np.float64(features) @ kernel + bias
  outer = np.einsum("bd,bc->bdc", np.float64(features), by_logits(logits, temperature=temperature))
  right = np.abs(outer).sum((1, 2))
  head_params = {"kernel": jnp.array(kernel), "bias": jnp.array(bias)}
  scores = score(linear_logits, head_params, jnp.array(features), temperature=temperature)
  np.testing.assert_allclose(scores, right, rtol=1e-5)
  # The same head by automatic differentiation: weights alone, without the bias.
  other = head_params | {"unused": jnp.ones(())}
  scores = score(linear_logits, other, jnp.array(features), temperature=temperature)
  np.testing.assert_allclose(scores, right, rtol=1e-5)


def test_isomax_head():
  features, _, _, prototypes = draw()
  differences = np.float64(features)[:, None] - prototypes
  logits = oracles.isomax_logits(features, prototypes)
  unit = differences / -logits[..., None]
  right = np.abs(by_logits(logits, temperature=1)[..., None] * unit).sum((1, 2))
  head = lambda params, features: isomax_logits(features, params["prototypes"])  # noqa: E731
  scores = score(head, {"prototypes": jnp.array(prototypes)}, jnp.array(features))
  np.testing.assert_allclose(scores, right, rtol=1e-4)


@pytest.mark.slow
def test_isomax_plus_head_without_its_scale():
  features, _, _, prototypes = draw()
  logits = oracles.isomax_plus_logits(features, prototypes, 2.0)
  right = [
    np.abs(oracles.isomax_plus_logits_gradient(f[None], prototypes, 2.0, g[None])[1]).sum()
    for f, g in zip(features, by_logits(logits, temperature=1), strict=True)
  ]

  def head(params, features):
    return isomax_plus_logits(features, params["prototypes"], params["distance_scale"])

  head_params = {"prototypes": jnp.array(prototypes), "distance_scale": jnp.array(2.0)}
  np.testing.assert_allclose(score(head, head_params, jnp.array(features)), right, rtol=1e-4)


def test_certain_scores_higher_and_uniform_zero():
  head_params = {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}
  features = jnp.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0], [4.0, 1.0, 0.0], [1000.0, 0.0, 0.0]])
  scores = score(linear_logits, head_params, features)
  assert scores[0] == 0
  assert (np.diff(scores) > 0).all()
  np.testing.assert_allclose(scores[3], 1000 * 4 / 3, rtol=1e-6)


def test_in_the_registry():
  outputs = Outputs(jnp.ones((2, 3)), jnp.ones((2, 4)))
  classifier = Classifier(outputs=None, head=None, head_params={"kernel": 0, "bias": 0})
  assert create_detector("gradnorm").score((), classifier, None, outputs).shape == (2,)


def test_parameters_without_names_serve():
  features, kernel = jnp.array([[1.0, -2.0]]), jnp.array([[1.0, 0.5], [0.0, 2.0]])
  linear = lambda params, features: features @ params  # noqa: E731
  expected = score(lambda params, features: features @ params["w"], {"w": kernel}, features)
  np.testing.assert_array_equal(score(linear, kernel, features), expected)


def test_a_head_without_weights_is_refused():
  head = lambda params, features: features * params["scale"]  # noqa: E731
  message = "gradnorm needs a head with weights of two axes or more; this one has scale"
  with pytest.raises(Unsupported, match=f"^{message}"):
    score(head, {"scale": jnp.ones(())}, jnp.ones((2, 3)))


def test_bad_temperature():
  with pytest.raises(ValueError, match=r"^temperature must be a positive, finite number, got 0$"):
    gradnorm(temperature=0)
