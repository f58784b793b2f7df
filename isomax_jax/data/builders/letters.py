"""Letters in the text fonts that Matplotlib ships."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageFont

from isomax_jax.data._packages import package_folder
from isomax_jax.data.builders.base import ImageBuilder

FONTS = (
  *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
  *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
  *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
  *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
  *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)

_FIELD = 28
_BOX = 20
# Drawn this large, a glyph's outline is smooth before it is scaled down.
_DRAWN_SIZE = 200


def render_letter(letter: str, font_file: Path) -> np.ndarray:
  """Draw a letter as MNIST's digits were: longest side 20 pixels, centre of mass in the middle.

  It is white on black, shape ``[28, 28]``, uint8.

  References:
    LeCun et al., *Gradient-Based Learning Applied to Document Recognition*, section III.A.
  """
  font = ImageFont.truetype(font_file, _DRAWN_SIZE, layout_engine=ImageFont.Layout.BASIC)
  mask = font.getmask(letter, mode="L")
  drawn = np.asarray(mask, dtype=np.uint8).reshape(mask.size[::-1])
  rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
  glyph = Image.fromarray(drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
  scale = _BOX / max(glyph.size)
  size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
  scaled = np.asarray(glyph.resize(size, Image.Resampling.BOX))
  field = np.zeros((_FIELD, _FIELD), dtype=np.uint8)
  field[tuple(_centred(scaled, axis) for axis in (0, 1))] = scaled
  return field


def _centred(image: np.ndarray, axis: int) -> slice:
  """Return where along the field's axis the image lies when its mass is centred."""
  mass = image.sum(axis=1 - axis, dtype=np.float64)
  centre = float(mass @ np.arange(mass.size) / mass.sum())
  # MNIST's digits have their centre of mass on pixel 14, half a pixel past the very middle.
  start = min(max(round(_FIELD / 2 - centre), 0), _FIELD - mass.size)
  return slice(start, start + mass.size)


class Builder(ImageBuilder, skip_registration=True):
  """Letters that look like no digit, each in every font."""

  name = "letters"

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
    folder = package_folder("matplotlib", extra="quickstart") / "mpl-data" / "fonts" / "ttf"
    letters = self.spec.class_names
    images = [render_letter(letter, folder / f"{font}.ttf") for letter in letters for font in FONTS]
    labels = np.repeat(np.arange(len(letters)), len(FONTS))
    return {"test": self._generate_examples(images, labels)}
