"""Networks: normalised images in, :class:`isomax_jax.typing.Outputs` out."""

from isomax_jax.models.densenet import DenseNet as DenseNet
from isomax_jax.models.densenet import DenseNetBC100 as DenseNetBC100
from isomax_jax.models.registry import MODELS as MODELS
from isomax_jax.models.registry import NetworkEntry as NetworkEntry
from isomax_jax.models.registry import create_model as create_model
from isomax_jax.models.resnet import ResNet as ResNet
from isomax_jax.models.resnet import ResNet34 as ResNet34
from isomax_jax.models.resnet import ResNetSmall as ResNetSmall
from isomax_jax.models.small_cnn import SmallCNN as SmallCNN
from isomax_jax.models.wide_resnet import WideResNet as WideResNet
from isomax_jax.models.wide_resnet import WideResNet28x10 as WideResNet28x10
