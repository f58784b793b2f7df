"""HTML page of a report: its template, in which all text is escaped, and what stands in it."""

import base64
import re
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from isomax_jax.heads import HEADS
from isomax_jax.reporting import style
from isomax_jax.reporting.folding import pieces

# Figures take their colours from the page, so that they follow it into dark mode.
_COLOURS = {style.INK: "ink", style.RULE: "rule", style.KNOWN: "known", style.UNKNOWN: "unknown"}
# Words that are longer may be broken.
_LONG = 16


def page(**values: Any) -> str:
  """Return the whole page, which the template makes of values."""
  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("isomax_jax.reporting"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters["breakable"] = breakable
  heads = [(name, colour, _lighter(colour)) for colour, name in _head_variables().items()]
  return environment.get_template("report.html").render(heads=heads, **values).lstrip()


def breakable(text: str) -> Markup:
  """Return a name whose long words a page may fold where their parts end, and else anywhere."""
  # A count such as n = 3 stays in one line.
  words = re.findall(r"\s+|\S+", text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"))
  return Markup("").join(Markup("<wbr>").join(map(escape, _parts(word))) for word in words)


def _parts(word: str) -> list[str]:
  if len(word) <= _LONG:
    return [word]
  return [piece[i : i + _LONG] for piece in pieces(word) for i in range(0, len(piece), _LONG)]


def image(pixels: np.ndarray) -> str:
  """Return the source of an image, shape ``[height, width, 1 or 3]``, uint8."""
  return f"data:image/png;base64,{base64.b64encode(style.png(pixels)).decode()}"


def figure(drawing: Figure, *, name: str, label: str) -> Markup:
  """Return a figure as inline SVG that takes its colours from the page.

  The name, another for each figure of a page, prefixes its identifiers; the label is read aloud.
  """
  svg = style.render(drawing, suffix=".svg").decode()
  svg = svg[svg.index("<svg") :].strip()
  svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
  # A parser of HTML knows the name spaces; without them nothing in the page looks like a link.
  svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
  svg = re.sub(r'\bid="', f'id="{name}-', svg)
  svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
  svg = svg.replace("#ffffff", "none")
  for colour, variable in (_COLOURS | _head_variables()).items():
    svg = svg.replace(colour, f"var(--{variable})")
  width = round(100 * drawing.get_figwidth())
  # Narrower than this the letters are too small, so that a phone scrolls instead.
  size = f"max-width:{width}px;min-width:{72 * width // 100}px"
  start = Markup('<svg role="img" aria-label="{}" style="{}"').format(label, size)
  own = re.compile(r'<svg( (?:width|height|version)="[^"]*")*')
  return Markup(own.sub(lambda _: start, svg, count=1))


def _head_variables() -> dict[str, str]:
  """Return the CSS variable of each head's colour."""
  colours = [*(head.colour for head in HEADS.values()), style.OTHER_HEAD]
  return {colour: f"head-{colour[1:]}" for colour in colours}


def _lighter(colour: str) -> str:
  """Return a colour a third of the way to white, for dark mode."""
  return "#" + "".join(f"{(2 * int(colour[i : i + 2], 16) + 255) // 3:02x}" for i in (1, 3, 5))
