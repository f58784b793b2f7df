"""Data sets, augmentation on the device and images for prediction.

Importing it is cheap: TFDS and Pillow are imported by the functions that need them.
"""

from isomax_jax.data._decoded import LARGEST_RESIDENT as LARGEST_RESIDENT
from isomax_jax.data.augment import DEVIATION_FLOOR as DEVIATION_FLOOR
from isomax_jax.data.augment import example_keys as example_keys
from isomax_jax.data.augment import make_preprocessing as make_preprocessing
from isomax_jax.data.augment import normalizer as normalizer
from isomax_jax.data.augment import random_crop as random_crop
from isomax_jax.data.augment import random_flip as random_flip
from isomax_jax.data.augment import to_pixels as to_pixels
from isomax_jax.data.description import Archive as Archive
from isomax_jax.data.description import ChannelStatistics as ChannelStatistics
from isomax_jax.data.description import DataSpec as DataSpec
from isomax_jax.data.description import spec_from_json as spec_from_json
from isomax_jax.data.description import spec_to_json as spec_to_json
from isomax_jax.data.examples import Examples as Examples
from isomax_jax.data.examples import Labelled as Labelled
from isomax_jax.data.examples import Stored as Stored
from isomax_jax.data.images import MAX_MEGAPIXELS as MAX_MEGAPIXELS
from isomax_jax.data.images import ImageError as ImageError
from isomax_jax.data.images import find_images as find_images
from isomax_jax.data.images import read_image as read_image
from isomax_jax.data.images import write_image as write_image
from isomax_jax.data.load import load as load
from isomax_jax.data.load import open_split as open_split
from isomax_jax.data.load import split_validation as split_validation
from isomax_jax.data.out_sets import default_out_sets as default_out_sets
from isomax_jax.data.out_sets import load_unknown as load_unknown
from isomax_jax.data.out_sets import overlap as overlap
from isomax_jax.data.pipeline import Pipeline as Pipeline
from isomax_jax.data.prepare import is_prepared as is_prepared
from isomax_jax.data.prepare import prepare as prepare
from isomax_jax.data.progress import Progress as Progress
from isomax_jax.data.references import Reference as Reference
from isomax_jax.data.references import parse_reference as parse_reference
from isomax_jax.data.specs import SPECS as SPECS
from isomax_jax.data.specs import get_spec as get_spec
