"""Metrics of out-of-distribution detection, classification and calibration.

All are computed in float64 by NumPy on the host, from lists, NumPy arrays or JAX arrays. A higher
score means more in-distribution, and in-distribution is the positive class.
"""

from isomax_jax.metrics.calibration import Reliability as Reliability
from isomax_jax.metrics.calibration import expected_calibration_error as expected_calibration_error
from isomax_jax.metrics.calibration import fit_temperature as fit_temperature
from isomax_jax.metrics.calibration import reliability as reliability
from isomax_jax.metrics.classification import accuracy as accuracy
from isomax_jax.metrics.classification import negative_log_likelihood as negative_log_likelihood
from isomax_jax.metrics.detection import aupr_in as aupr_in
from isomax_jax.metrics.detection import aupr_out as aupr_out
from isomax_jax.metrics.detection import auroc as auroc
from isomax_jax.metrics.detection import detection_accuracy as detection_accuracy
from isomax_jax.metrics.detection import detection_metrics as detection_metrics
from isomax_jax.metrics.detection import fpr_at_tpr as fpr_at_tpr
from isomax_jax.metrics.detection import tnr_at_tpr as tnr_at_tpr
