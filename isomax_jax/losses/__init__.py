"""Logits and losses as pure functions of arrays.

The IsoMax loss is two of these functions, ``scaled_cross_entropy(isomax_logits(features,
prototypes), labels)``; IsoMax+ and DisMax have logits of their own.

The default entropic scale, 10, is for such distances. Logits of a linear layer need
``entropic_scale=1``: at 10 their cross-entropy trains a different, much sharper classifier.
"""

from isomax_jax.losses._cross_entropy import scaled_cross_entropy as scaled_cross_entropy
from isomax_jax.losses._dismax import dismax_logits as dismax_logits
from isomax_jax.losses._distances import pairwise_distance as pairwise_distance
from isomax_jax.losses._divergence import scaled_divergence as scaled_divergence
from isomax_jax.losses._exposure import outlier_exposure as outlier_exposure
from isomax_jax.losses._isomax import isomax_logits as isomax_logits
from isomax_jax.losses._isomax import isomax_plus_logits as isomax_plus_logits
