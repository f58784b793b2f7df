"""The heads: one record each, which is all that the rest of the library knows of one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn

from isomax_jax._registry import Registry
from isomax_jax.heads.linen import DisMaxHead, IsoMaxHead, IsoMaxPlusHead, SoftmaxHead


class HeadEntry(NamedTuple):
  """What is known of a head.

  Attributes:
    name: What configs and records call it.
    linen: Constructor of the Linen module, ``linen(num_classes=...)``: features
      ``[..., features]`` to logits ``[..., classes]``.
    label: What tables and figures call it.
    entropic_scale: What its cross-entropy multiplies the logits by in training, unless told.
    detector: Name of the detector that a run with this head decides by.
    nnx: Constructor of the same for NNX, ``nnx(num_features, num_classes, rngs=...)``; None where
      there is none.
    colour: Its colour in figures, ``"#rrggbb"``.
  """

  name: str
  linen: Callable[..., nn.Module]
  label: str
  entropic_scale: float
  detector: str
  nnx: Callable[..., Any] | None = None
  colour: str = "#56b4e9"


def _nnx(name: str, *arguments: int, **options: Any) -> Any:
  """Make an NNX head; a program that needs none need not import NNX."""
  from isomax_jax.heads import nnx

  return getattr(nnx, name)(*arguments, **options)


# Okabe and Ito's colours: told apart under every common colour blindness.
HEADS = Registry(
  "head",
  "isomax_jax.heads:HEADS",
  [
    HeadEntry(
      name="softmax",
      linen=SoftmaxHead,
      label="SoftMax",
      entropic_scale=1.0,
      detector="maximum_probability",
      nnx=partial(_nnx, "SoftmaxHead"),
      colour="#7f7f7f",
    ),
    HeadEntry(
      name="isomax",
      linen=IsoMaxHead,
      label="IsoMax",
      entropic_scale=10.0,
      detector="entropic_score",
      nnx=partial(_nnx, "IsoMaxHead"),
      colour="#009e73",
    ),
    HeadEntry(
      name="isomax_plus",
      linen=IsoMaxPlusHead,
      label="IsoMax+",
      entropic_scale=10.0,
      detector="max_logit",
      nnx=partial(_nnx, "IsoMaxPlusHead"),
      colour="#cc79a7",
    ),
    HeadEntry(
      name="dismax",
      linen=DisMaxHead,
      label="DisMax",
      entropic_scale=10.0,
      detector="mmles",
      nnx=partial(_nnx, "DisMaxHead"),
      colour="#e69f00",
    ),
  ],
)
"""Heads by name; ``HEADS.register(HeadEntry(...))`` adds one."""
