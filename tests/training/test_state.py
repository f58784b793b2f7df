"""What is asked of a network before it is trained."""

import re

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isomax_jax.heads import IsoMaxHead
from isomax_jax.models import create_model
from isomax_jax.training import create_state
from isomax_jax.training.state import initial_variables
from isomax_jax.typing import Outputs
from tests.training.tiny import CLASSES, SHAPE, TinyNetwork

KEY = jax.random.key(0)


class Plain(nn.Module):
  """No BatchNorm, an input of any shape; what is wrong with it is said by its options."""

  head_name: str = "head"
  result: str = "outputs"

  @nn.compact
  def __call__(self, examples, *, train):
    del train
    features = examples.reshape(len(examples), -1)
    logits = IsoMaxHead(CLASSES, name=self.head_name)(features)
    return {
      "outputs": Outputs(logits, features),
      "logits alone": logits,
      "pair": (logits, features),
      "logits of no batch": Outputs(logits[0], features),
      "logits of three axes": Outputs(logits[:, None], features),
      "features of four axes": Outputs(logits, examples),
      "logits of two": Outputs(jnp.concatenate([logits, logits]), features),
    }[self.result]


@pytest.mark.parametrize("shape", [SHAPE, (5,), (2, 3)])
def test_a_network_of_any_examples(shape):
  variables = initial_variables(Plain(), KEY, shape)
  assert set(variables) == {"params", "batch_stats"}
  assert variables["batch_stats"] == {}
  assert variables["params"]["head"]["prototypes"].shape == (CLASSES, np.prod(shape))


def test_statistics_are_there_where_a_network_has_some():
  variables = initial_variables(TinyNetwork(), KEY, SHAPE)
  assert list(variables["batch_stats"]) == ["BatchNorm_0"]
  state = create_state(TinyNetwork(), optax.sgd(0.1), KEY, SHAPE)
  chex.assert_trees_all_equal(state.variables, variables)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"result": "logits alone"},
      r"Plain must return isomax_jax\.typing\.Outputs, got \w*(Array|Tracer)\w*",
    ),
    ({"result": "pair"}, r"Plain must return isomax_jax\.typing\.Outputs, got tuple"),
    (
      {"result": "logits of no batch"},
      r"logits of Plain must have shape \[batch, logits\], got \(3,\) of 1 image",
    ),
    (
      {"result": "logits of three axes"},
      r"logits of Plain must have shape \[batch, logits\], got \(1, 1, 3\) of 1 image",
    ),
    (
      {"result": "logits of two"},
      r"logits of Plain must have shape \[batch, logits\], got \(2, 3\) of 1 image",
    ),
    (
      {"result": "features of four axes"},
      r"features of Plain must have shape \[batch, features\], got \(1, 6, 6, 1\) of 1 image",
    ),
    (
      {"head_name": "classifier"},
      "Plain must keep its head under the name 'head', got classifier",
    ),
  ],
)
def test_what_is_no_network_is_refused(options, message):
  for make in (
    lambda model: initial_variables(model, KEY, SHAPE),
    lambda model: create_state(model, optax.sgd(0.1), KEY, SHAPE),
    lambda model: jax.eval_shape(lambda: initial_variables(model, KEY, SHAPE)),
  ):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
      make(Plain(**options))
    assert re.fullmatch(message, str(caught.value))  # JAX adds a note of its own.


class Wide(nn.Module):
  """A head of a logit too many."""

  num_classes: int

  @nn.compact
  def __call__(self, features):
    return nn.Dense(self.num_classes + 1)(features)


def test_a_head_gives_a_logit_for_each_class():
  model = create_model("small_cnn", num_classes=CLASSES).copy(head=Wide(CLASSES))
  message = f"^Wide of SmallCNN must give {CLASSES} logits, one a class, got {CLASSES + 1}"
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(lambda: initial_variables(model, KEY, (28, 28, 1)))
