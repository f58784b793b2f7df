"""Networks: normalised images in, :class:`isomax_jax.typing.Outputs` out."""

from isomax_jax.models.factory import MODELS as MODELS
from isomax_jax.models.factory import create_model as create_model
from isomax_jax.models.small_cnn import SmallCNN as SmallCNN
