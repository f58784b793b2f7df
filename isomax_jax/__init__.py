"""Out-of-distribution detection for JAX and Flax that costs nothing at inference."""

from isomax_jax import decision as decision
from isomax_jax import detectors as detectors
from isomax_jax import heads as heads
from isomax_jax import losses as losses
from isomax_jax import metrics as metrics
from isomax_jax import models as models
from isomax_jax import scores as scores
from isomax_jax import typing as typing
from isomax_jax._version import __version__ as __version__
