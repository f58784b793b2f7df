"""Classifier heads as Flax Linen modules; :mod:`isomax_jax.heads.nnx` has the same for NNX."""

from isomax_jax.heads.linen import DisMaxHead as DisMaxHead
from isomax_jax.heads.linen import IsoMaxHead as IsoMaxHead
from isomax_jax.heads.linen import IsoMaxPlusHead as IsoMaxPlusHead
from isomax_jax.heads.linen import SoftmaxHead as SoftmaxHead
from isomax_jax.heads.registry import HEADS as HEADS
from isomax_jax.heads.registry import HeadEntry as HeadEntry
