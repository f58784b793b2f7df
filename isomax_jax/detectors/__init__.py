"""Out-of-distribution detectors: factories of pairs of pure functions, a fit and a score.

Those that need the logits alone are made of the functions of :mod:`isomax_jax.scores`, whose names
they share in the registry, and have no factory of their own: ``from_logits(scores.energy)`` is what
``create_detector("energy")`` gives.
"""

from isomax_jax.detectors._ash import ash as ash
from isomax_jax.detectors._dice import dice as dice
from isomax_jax.detectors._gen import gen as gen
from isomax_jax.detectors._gradnorm import gradnorm as gradnorm
from isomax_jax.detectors._kl_matching import kl_matching as kl_matching
from isomax_jax.detectors._knn import knn as knn
from isomax_jax.detectors._mahalanobis import fit_stage_weights as fit_stage_weights
from isomax_jax.detectors._mahalanobis import mahalanobis as mahalanobis
from isomax_jax.detectors._mahalanobis import stage_scores as stage_scores
from isomax_jax.detectors._odin import odin as odin
from isomax_jax.detectors._odin import odin_score as odin_score
from isomax_jax.detectors._react import react as react
from isomax_jax.detectors._relative_mahalanobis import relative_mahalanobis as relative_mahalanobis
from isomax_jax.detectors._she import she as she
from isomax_jax.detectors._vim import vim as vim
from isomax_jax.detectors.adversarial import fgsm as fgsm
from isomax_jax.detectors.base import Batches as Batches
from isomax_jax.detectors.base import Classifier as Classifier
from isomax_jax.detectors.base import Detector as Detector
from isomax_jax.detectors.base import Unsupported as Unsupported
from isomax_jax.detectors.base import from_logits as from_logits
from isomax_jax.detectors.base import linear_head as linear_head
from isomax_jax.detectors.registry import DETECTORS as DETECTORS
from isomax_jax.detectors.registry import DetectorEntry as DetectorEntry
from isomax_jax.detectors.registry import create_detector as create_detector
