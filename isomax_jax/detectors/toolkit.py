"""Building blocks of detectors: passes over training data, moments, gradients, checks.

All checks look at what is known when a program is traced; their one line names the argument.
"""

from isomax_jax._checks import count as count
from isomax_jax._checks import floating as floating
from isomax_jax._checks import not_negative as not_negative
from isomax_jax._checks import one_of as one_of
from isomax_jax._checks import percentile as percentile
from isomax_jax._checks import positive as positive
from isomax_jax.detectors._moments import Moments as Moments
from isomax_jax.detectors._moments import fit_moments as fit_moments
from isomax_jax.detectors._training import TrainingBatch as TrainingBatch
from isomax_jax.detectors._training import check_examples as check_examples
from isomax_jax.detectors._training import check_finite as check_finite
from isomax_jax.detectors._training import training_batches as training_batches
from isomax_jax.detectors.adversarial import gradient_sign as gradient_sign
from isomax_jax.detectors.base import from_logits as from_logits
from isomax_jax.detectors.base import linear_head as linear_head
