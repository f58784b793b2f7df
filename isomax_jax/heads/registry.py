"""The registry of heads: to the rest of the library, a head is its record."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn

from isomax_jax import _checks
from isomax_jax._registry import Registry
from isomax_jax.heads.linen import DisMaxHead, IsoMaxHead, IsoMaxPlusHead, SoftmaxHead


class HeadEntry(NamedTuple):
  """The record of a head.

  Attributes:
    name: Name in configs and records.
    linen: Constructor of the Linen module, ``linen(num_classes=...)``: features
      ``[..., features]`` to logits ``[..., classes]``.
    label: Name in tables and figures.
    entropic_scale: Default factor of the logits in the cross-entropy of training.
    detector: Name of the detector that a run with this head decides by.
    nnx: Constructor of the NNX module, ``nnx(num_features, num_classes, rngs=...)``, if any.
    colour: Colour in figures, ``"#rrggbb"``.
  """

  name: str
  linen: Callable[..., nn.Module]
  label: str
  entropic_scale: float
  detector: str
  nnx: Callable[..., Any] | None = None
  colour: str = "#56b4e9"


def _nnx(name: str, *arguments: int, **options: Any) -> Any:
  """Make an NNX head; only programs that need one import NNX."""
  from isomax_jax.heads import nnx

  return getattr(nnx, name)(*arguments, **options)


def _own(name: str, linen: type[nn.Module], *columns: Any, colour: str) -> HeadEntry:
  """Return the record of a head of the library, whose NNX module has the Linen module's name."""
  return HeadEntry(name, linen, *columns, nnx=partial(_nnx, linen.__name__), colour=colour)


def _check(entry: HeadEntry) -> None:
  _checks.positive("entropic_scale", entry.entropic_scale)
  if not re.fullmatch("#[0-9a-fA-F]{6}", entry.colour):
    raise ValueError(f"colour must be like '#56b4e9', got {entry.colour!r}")


# Okabe and Ito's colours, distinct under every common colour blindness.
HEADS = Registry(
  "head",
  HeadEntry,
  "isomax_jax.heads:HEADS",
  [
    _own("softmax", SoftmaxHead, "SoftMax", 1.0, "maximum_probability", colour="#7f7f7f"),
    _own("isomax", IsoMaxHead, "IsoMax", 10.0, "entropic_score", colour="#009e73"),
    _own("isomax_plus", IsoMaxPlusHead, "IsoMax+", 10.0, "max_logit", colour="#cc79a7"),
    _own("dismax", DisMaxHead, "DisMax", 10.0, "mmles", colour="#e69f00"),
  ],
  check=_check,
)
"""Heads by name; ``HEADS.register(HeadEntry(...))`` adds one."""
