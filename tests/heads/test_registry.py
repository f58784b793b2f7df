"""The records of the heads."""

import re

import jax.numpy as jnp
import pytest
from flax import nnx

from isomax_jax.detectors import DETECTORS
from isomax_jax.heads import HEADS
from isomax_jax.heads import nnx as nnx_heads

every_head = pytest.mark.parametrize("entry", HEADS.values(), ids=HEADS)


@every_head
def test_both_constructors_make_the_same_head(entry):
  linen = entry.linen(num_classes=3)
  head = entry.nnx(4, 3, rngs=nnx.Rngs(0))
  assert type(head).__name__ == type(linen).__name__
  assert type(head) is getattr(nnx_heads, type(linen).__name__)
  assert isinstance(head, nnx.Module)
  assert (linen.num_classes, head(jnp.ones((2, 4))).shape) == (3, (2, 3))


@every_head
def test_its_detector_is_one_without_a_fit_that_is_meant_for_it(entry):
  detector = DETECTORS[entry.detector]
  assert detector.is_free
  assert detector.fit_on is None
  assert detector.heads is None or entry.name in detector.heads


@every_head
def test_it_says_how_it_trains_and_looks(entry):
  assert entry.entropic_scale > 0
  assert re.fullmatch("#[0-9a-f]{6}", entry.colour)


def test_labels_and_colours_tell_heads_apart():
  for values in ({e.label for e in HEADS.values()}, {e.colour for e in HEADS.values()}):
    assert len(values) == len(HEADS)
