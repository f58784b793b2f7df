"""LSUN as the authors of ODIN resized it."""

from isomax_jax.data.builders._odin import OdinBuilder


class Builder(OdinBuilder, skip_registration=True):
  """The images of ``LSUN_resize.tar.gz``."""

  name = "odin_lsun_resize"
