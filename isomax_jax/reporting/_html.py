"""HTML page of a report and its elements, in which all text is escaped."""

import base64
import html
import re
import string
from collections.abc import Collection, Sequence

from matplotlib.figure import Figure

from isomax_jax.heads import HEADS
from isomax_jax.reporting import style

# Figures take their colours from the page, so that they follow it into dark mode.
_COLOURS = {style.INK: "ink", style.RULE: "rule", style.KNOWN: "known", style.UNKNOWN: "unknown"}

_PAGE = string.Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
:root {
  --page: #fff; --ink: #24292f; --soft: #57606a; --rule: #d0d7de; --tint: #f6f8fa;
  --known: #0072b2; --unknown: #d55e00; $heads
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --ink: #e3e8ee; --soft: #9aa4af; --rule: #3a424c; --tint: #1b2129;
    --known: #4fb0e8; --unknown: #ff8a3d; $heads_in_the_dark
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 {
  font-size: 1.25rem; margin: 2.6rem 0 .5rem; padding-top: .9rem;
  border-top: 1px solid var(--rule);
}
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul { margin: .4rem 0 .8rem; max-width: 46rem; }
ul { padding-left: 1.2rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .2rem 0; }
th, td {
  padding: .28rem .5rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule);
}
th { font-weight: 600; }
th[scope=row], th:first-child, .text { text-align: left; }
th[scope=row] { position: sticky; left: 0; background: var(--page); }
td.text { white-space: normal; overflow-wrap: anywhere; }
th[scope=colgroup] { text-align: center; border-bottom-color: var(--ink); }
th[scope=rowgroup] { padding-top: .8rem; color: var(--soft); }
td.best { font-weight: 700; }
figure { margin: .8rem 0; }
figure svg { display: block; width: 100%; height: auto; }
details > summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
code { font: .88em ui-monospace, monospace; background: var(--tint); padding: .1em .3em; }
.missing { background: var(--tint); padding: .6rem .8rem; border-left: 3px solid var(--rule); }
.images { display: flex; flex-wrap: wrap; gap: .4rem; margin: .2rem 0 .8rem; }
.images figure { margin: 0; width: 2.95rem; text-align: center; }
.images img {
  display: block; width: 2.95rem; border: 3px solid var(--rule); image-rendering: pixelated;
}
.images img.known { border-color: var(--known); }
.images img.unknown { border-color: var(--unknown); border-style: dashed; }
.images figcaption { font-size: .72rem; font-variant-numeric: tabular-nums; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 0 1.5rem; }
.pair p { margin: 0; }
@media print {
  body { max-width: none; font-size: 11pt; }
  h2, h3, summary { break-after: avoid; }
  figure, .wide { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  figure svg { min-width: 0 !important; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def page(title: str, body: Sequence[str]) -> str:
  """Return the whole page of a title and elements."""
  heads = _head_variables()
  return _PAGE.substitute(
    title=html.escape(title),
    body="\n".join(body),
    heads=" ".join(f"--{name}: {colour};" for colour, name in heads.items()),
    heads_in_the_dark=" ".join(f"--{name}: {_lighter(c)};" for c, name in heads.items()),
  )


def _head_variables() -> dict[str, str]:
  """Return the CSS variable of each head's colour."""
  colours = [*(head.colour for head in HEADS.values()), style.OTHER_HEAD]
  return {colour: f"head-{colour[1:]}" for colour in colours}


def _lighter(colour: str) -> str:
  """Return a colour a third of the way to white, for dark mode."""
  return "#" + "".join(f"{(2 * int(colour[i : i + 2], 16) + 255) // 3:02x}" for i in (1, 3, 5))


def element(tag: str, text: str, *, css: str = "") -> str:
  """Return an element of text, in which backquotes mark code."""
  parts = html.escape(text).split("`")
  inner = "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
  return f'<{tag} class="{css}">{inner}</{tag}>' if css else f"<{tag}>{inner}</{tag}>"


def bullets(lines: Sequence[str]) -> str:
  """Return a bulleted list."""
  return f"<ul>{''.join(element('li', line) for line in lines)}</ul>"


def details(summary: str, pieces: Sequence[str], *, opened: bool = True) -> str:
  """Return elements that fold away under a summary."""
  state = " open" if opened else ""
  return f"<details{state}>{element('summary', summary)}\n" + "\n".join(pieces) + "\n</details>"


def table(
  header: Sequence[str],
  rows: Sequence[Sequence[str]],
  *,
  groups: Sequence[tuple[str, int]] = (),
  best: Collection[tuple[int, int]] = (),
  text_columns: Collection[int] = (),
) -> str:
  """Return a table that scrolls sideways where it is too wide.

  The first cell of a row is its name; a name alone spans the table. The groups are names and widths
  of groups of columns, above the header; best are the row and column of cells in bold; text columns
  are aligned left and wrap.
  """
  spans = [
    f'<th scope="colgroup" colspan="{width}">{html.escape(name)}</th>'
    if name
    else f'<td colspan="{width}"></td>'
    for name, width in groups
  ]
  names = [
    f'<th scope="col"{" class=text" * (i in text_columns)}>{html.escape(name)}</th>'
    for i, name in enumerate(header)
  ]
  lines = [spans, names] if groups else [names]
  for i, (name, *cells) in enumerate(rows):
    scope = 'scope="row"' if cells else f'scope="rowgroup" colspan="{len(header)}"'
    line = [f"<th {scope}>{html.escape(name)}</th>"]
    for j, cell in enumerate(cells, start=1):
      css = "text" if j in text_columns else "best" if (i, j) in best else ""
      line.append((f'<td class="{css}">' if css else "<td>") + f"{html.escape(cell)}</td>")
    lines.append(line)
  body = "\n".join(f"<tr>{''.join(line)}</tr>" for line in lines)
  return f'<div class="wide"><table>\n{body}\n</table></div>'


def figure(drawing: Figure, *, name: str, label: str, caption: str) -> str:
  """Return a figure as inline SVG that takes its colours from the page.

  The name, another for each figure of a page, prefixes its identifiers; the label is read aloud.
  """
  svg = style.render(drawing, suffix=".svg").decode()
  svg = svg[svg.index("<svg") :]
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
  attributes = f'role="img" aria-label="{html.escape(label)}" style="{size}"'
  svg = re.sub(r'<svg( (?:width|height|version)="[^"]*")*', f"<svg {attributes}", svg, count=1)
  return f'<figure><div class="wide">{svg.strip()}</div>{element("figcaption", caption)}</figure>'


def images(files: Sequence[tuple[bytes, str, str]]) -> str:
  """Return a row of PNG images, each with its caption and the CSS class of its frame."""
  cells = [
    f'<figure><img class="{css}" alt="" src="data:image/png;base64,'
    f'{base64.b64encode(data).decode()}">{element("figcaption", caption)}</figure>'
    for data, caption, css in files
  ]
  return f'<div class="images">{"".join(cells)}</div>'


def pair(pieces: Sequence[str]) -> str:
  """Return elements side by side, or below each other where there is no room."""
  return f'<div class="pair">{"".join(f"<div>{piece}</div>" for piece in pieces)}</div>'
