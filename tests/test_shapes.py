"""The annotations of shapes and dtypes hold, of what is taken and of what is returned.

Every public function of losses, scores, heads and detectors is called with good arguments of
several ranks, dtypes and kinds of arrays, under a run-time check of its own annotations. That
others are refused is for the tests of each function: here it would be the check that refuses them.
"""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from beartype import BeartypeConf, beartype
from flax import nnx
from jaxtyping import TypeCheckError, jaxtyped

from isomax_jax import detectors, losses, scores
from isomax_jax.detectors import DETECTORS, toolkit
from isomax_jax.heads import HEADS
from isomax_jax.typing import FeaturesLike, LabelsLike, Logits
from tests.detectors import tiny

_check = jaxtyped(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True)))

CLASSES, WIDTH = 3, 4
BATCHES = [(), (5,), (0,), (2, 3)]
DTYPES = [(np.float32, np.int32), (np.float16, np.uint8), (ml_dtypes.bfloat16, np.int64)]
KINDS = {"numpy": np.asarray, "jax": jnp.asarray}


def checked(function):
  """Return a function that checks its annotations; a lambda has none."""
  return function if function.__name__ == "<lambda>" else _check(function)


def traced(function, *arguments, **options):
  """Call a function under the check of its annotations, without computing anything."""
  return jax.eval_shape(lambda: checked(function)(*arguments, **options))


def functions(module):
  """Return the public functions of a module by name."""
  found = vars(module).items()
  return {name: each for name, each in found if inspect.isfunction(each) and name[0] != "_"}


def argument(name, batch, kind, floating, integer):
  """Return a good argument of a name, which is of one shape in all functions."""
  generator = np.random.default_rng(0)
  shapes = {
    "features": (*batch, WIDTH),
    "prototypes": (CLASSES, WIDTH),
    "logits": (*batch, CLASSES),
    "targets": (*batch, CLASSES),
    "distance_scale": (),
    "entropic_scale": (),
    "temperature": (),
  }
  if name == "labels":
    return kind(generator.integers(CLASSES, size=batch).astype(integer))
  return kind(generator.uniform(0.5, 1, size=shapes[name]).astype(floating))


PURE = functions(losses) | functions(scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("floating", "integer"), DTYPES)
@pytest.mark.parametrize("name", PURE)
def test_losses_and_scores(name, floating, integer, kind):
  for batch in BATCHES:
    arguments = {
      each: argument(each, batch, KINDS[kind], floating, integer)
      for each in inspect.signature(PURE[name]).parameters
    }
    traced(PURE[name], **arguments)


@pytest.mark.parametrize("option", [10, 0.5, np.float32(2), np.int64(2)])
def test_options_may_be_plain_numbers(option):
  for function in PURE.values():
    names = inspect.signature(function).parameters
    scalars = {"entropic_scale", "temperature", "distance_scale"} & set(names)
    arguments = {each: argument(each, (5,), np.asarray, np.float32, int) for each in names}
    traced(function, **arguments | dict.fromkeys(scalars, option))
  traced(losses.scaled_cross_entropy, np.zeros(CLASSES, np.float32), 1)


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
  linen = HEADS[name].linen(num_classes=CLASSES)
  of_nnx = HEADS[name].nnx(WIDTH, CLASSES, rngs=nnx.Rngs(0))
  shapes = jax.eval_shape(linen.init, jax.random.key(0), jnp.zeros((1, WIDTH)))
  variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  for batch in BATCHES:
    for floating, _ in DTYPES:
      features = argument("features", batch, np.asarray, floating, None)
      traced(nn.apply(checked(type(linen).__call__), linen), variables, features)
      traced(type(of_nnx).__call__, of_nnx, features)


@pytest.fixture(scope="module")
def network():
  """Return a classifier of a linear head and its training data, in NumPy."""
  classifier, training = tiny.make("linear")
  images, labels, outputs, batches = jax.tree.map(np.asarray, training)
  return classifier, images, labels, outputs, batches


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_of_detectors(network, name):
  classifier, images, _, outputs, batches = network
  detector = detectors.create_detector(name)
  params = checked(detector.fit)(classifier, batches)
  for kind in KINDS.values():
    given = jax.tree.map(kind, (images, outputs))
    traced(detector.score, params, classifier, *given)


def mahalanobis_scores(network):
  classifier, images, _, outputs, batches = network
  params = detectors.mahalanobis().fit(classifier, batches)
  return traced(detectors.stage_scores, params, classifier, images, outputs, epsilon=0.01)


# The functions of detectors that are neither a factory of one nor a check of an argument.
CALLS = {
  "create_detector": lambda network: checked(detectors.create_detector)("energy"),
  "fgsm": lambda network: traced(detectors.fgsm, *network[:3], epsilon=np.float32(0.1)),
  "fit_stage_weights": lambda network: checked(detectors.fit_stage_weights)(
    np.eye(3, 2), [[0.0, -1.0], [1.0, 2.0]]
  ),
  "from_logits": lambda network: checked(detectors.from_logits)(scores.energy),
  "linear_head": lambda network: checked(detectors.linear_head)(network[0], detector="mine"),
  "odin_score": lambda network: traced(
    detectors.odin_score, *network[:2], temperature=jnp.float32(10), epsilon=0
  ),
  "stage_scores": mahalanobis_scores,
  "fit_moments": lambda network: checked(toolkit.fit_moments)(
    network[4], lambda outputs: outputs.stages, detector="mine"
  ),
  "gradient_sign": lambda network: traced(
    toolkit.gradient_sign, lambda images: images.sum((1, 2, 3)), network[1]
  ),
  "training_batches": lambda network: list(
    checked(toolkit.training_batches)(network[4], detector="mine")
  ),
  "check_examples": lambda network: checked(toolkit.check_examples)(1, detector="mine"),
  "check_finite": lambda network: checked(toolkit.check_finite)(
    "images", network[1], detector="mine"
  ),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions_of_detectors(network, name):
  CALLS[name](network)


def test_no_function_of_detectors_is_left_out():
  found = functions(detectors) | functions(toolkit)
  others = [name for name, each in found.items() if each.__module__ != "isomax_jax._checks"]
  assert set(others) - set(DETECTORS) == set(CALLS)


@pytest.mark.parametrize(
  "wrong",
  [
    lambda features, labels: features[0],
    lambda features, labels: features[..., 0],
    lambda features, labels: features.astype(int)[..., :CLASSES],
  ],
)
def test_the_check_sees_a_wrong_result(wrong):
  def function(features: FeaturesLike, labels: LabelsLike) -> Logits:
    return wrong(features, labels)

  with pytest.raises(TypeCheckError):
    checked(function)(jnp.ones((5, WIDTH)), np.zeros(5, int))
