"""Building blocks of detectors.

* A detector of the logits alone: ``from_logits``.
* Passes over the data of a fit: ``training_batches``, ``fit_moments``, ``check_examples``,
  ``check_finite``.
* Within a score: ``gradient_sign``, ``linear_head``.
* Checks of an argument, which raise an error that names it: ``count``, ``floating``,
  ``not_negative``, ``one_of``, ``percentile``, ``positive``. They run while a program is traced, so
  they see shapes, dtypes and options, not the values of arrays.
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
