"""Networks and heads by name."""

import jax
import jax.numpy as jnp
import pytest

from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS, SmallCNN, create_model
from isomax_jax.typing import Outputs
from tests.slow import slow

IMAGES = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)


@pytest.mark.parametrize(
  ("name", "head"),
  [slow(name, "isomax") for name in sorted(MODELS)]
  + [("small_cnn", head) for head in sorted(HEADS)],
)
def test_every_name_gives_outputs(name, head):
  model = create_model(name, 5, head=head, dtype=jnp.bfloat16)
  variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), IMAGES)
  outputs = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, IMAGES)
  assert isinstance(outputs, Outputs)
  assert (outputs.logits.shape, outputs.logits.dtype) == ((2, 5), jnp.float32)
  assert outputs.features.shape[0] == 2
  assert all(stage.shape[0] == 2 and stage.ndim == 2 for stage in outputs.stages)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_defaults_and_options():
  model = create_model("small_cnn", num_classes=8)
  assert isinstance(model, SmallCNN)
  assert isinstance(model.head, HEADS["isomax"].linen)
  assert (model.head.num_classes, model.dtype, model.axis_name) == (8, jnp.float32, None)
  model = create_model("small_cnn", 8, head="dismax", dtype=jnp.bfloat16, axis_name="batch")
  assert isinstance(model.head, HEADS["dismax"].linen)
  assert (model.dtype, model.axis_name) == (jnp.bfloat16, "batch")


def test_residual_blocks_start_at_zero_where_there_are_such_blocks():
  assert not create_model("resnet34", 8).zero_init_residual
  for name in ("resnet34", "resnet_small"):
    assert create_model(name, 8, zero_init_residual=True).zero_init_residual


@pytest.mark.parametrize("name", ["densenet_bc_100", "small_cnn", "wide_resnet_28_10"])
def test_other_networks_refuse_zero_init_residual(name):
  message = (
    "^zero_init_residual needs residual blocks that end in BatchNorm, as resnet34 and "
    f"resnet_small have, got {name}$"
  )
  with pytest.raises(ValueError, match=message):
    create_model(name, 8, zero_init_residual=True)
  create_model(name, 8, zero_init_residual=False)


def test_unknown_names_list_the_known_ones():
  with pytest.raises(ValueError, match=r"^unknown model 'lenet'; known: .*small_cnn"):
    create_model("lenet", 8)
  message = (
    "^unknown head 'linear'; known: dismax, isomax, isomax_plus, softmax; one from outside is "
    "known once its module is imported, in a shell by --import MODULE$"
  )
  with pytest.raises(ValueError, match=message):
    create_model("small_cnn", 8, head="linear")


@pytest.mark.parametrize("num_classes", [0, -1])
def test_number_of_classes_must_be_positive(num_classes):
  message = f"^num_classes must be a positive, finite number, got {num_classes}$"
  with pytest.raises(ValueError, match=message):
    create_model("small_cnn", num_classes)
