"""ASH against its formula in float64."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import Classifier, ash
from tests import oracles
from tests.detectors import tiny

IDENTITY = Classifier(None, lambda params, features: features, ())


def shape(features, variant, percentile):
  """Return shaped features, one row after the other."""
  shaped = []
  for f in np.float64(features):
    kept = len(f) - int(np.round(len(f) * percentile / 100))
    places = np.argsort(-f, kind="stable")[:kept]
    g = np.zeros_like(f)
    g[places] = {
      "s": f[places] * np.exp(f.sum() / f[places].sum()),
      "b": f.sum() / kept,
      "p": f[places],
    }[variant]
    shaped.append(g)
  return np.array(shaped)


def score(features, *, classifier=IDENTITY, **options):
  outputs = tiny.arrays(features)[2]
  return ash(**options).score((), classifier, None, outputs)


@pytest.mark.parametrize("variant", ["s", "b", "p"])
@pytest.mark.parametrize("percentile", [0, 45, 65, 90.0])
def test_equals_the_formula(variant, percentile):
  # 30 features, of which 45 % are 13.5: what is removed is rounded half to even. Ties at zero.
  features = np.float32(np.maximum(np.random.default_rng(0).normal(size=(8, 30)) + 0.5, 0))
  scores = score(features, variant=variant, percentile=percentile)
  expected = oracles.energy(shape(features, variant, percentile))
  np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_variant_s_at_90_is_the_default():
  features = np.float32(np.random.default_rng(0).exponential(size=(8, 30)))
  np.testing.assert_array_equal(score(features), score(features, variant="s", percentile=90))


@pytest.mark.parametrize("head", tiny.HEADS)
def test_every_head(head):
  classifier, training = tiny.make(head)
  features = training.outputs.features
  shaped = shape(features, "s", 60)
  if head == "linear":
    logits = shaped @ np.float64(classifier.head_params["kernel"])
    logits += np.float64(classifier.head_params["bias"])
  else:
    logits = oracles.isomax_logits(shaped, classifier.head_params["prototypes"])
  scores = score(features, classifier=classifier, percentile=60)
  np.testing.assert_allclose(scores, oracles.energy(logits), rtol=1e-4)


@pytest.mark.slow
def test_a_dead_row_is_finite_and_so_is_its_gradient():
  zeros = jnp.zeros((1, 5))
  np.testing.assert_allclose(score(zeros, percentile=50), np.log(5), rtol=1e-6)
  gradient = jax.grad(lambda f: score(f, percentile=50).sum())(zeros)
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"variant": "t"}, "unknown variant 't'; known: b, p, s"),
    ({"percentile": 101}, "percentile must be a number from 0 to 100, got 101"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    ash(**options)


def test_nothing_left():
  message = "percentile must leave a feature or more of 4, got 90.0"
  with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
    score(np.ones((1, 4)))
