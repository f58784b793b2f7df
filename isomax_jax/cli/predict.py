"""``isomax-jax predict``."""

import csv as csv_module
import json as json_module
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import tyro

from isomax_jax._files import printable
from isomax_jax.runs import Prediction, Refusal


def predict(
  run_dir: tyro.conf.Positional[Path],
  images: tyro.conf.Positional[tuple[str, ...]],
  *,
  json: tyro.conf.FlagCreatePairsOff[bool] = False,
  csv: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> int:
  """Say of each image file which class it shows, how probably, and whether it is known at all.

  Example: isomax-jax predict runs/digits photo.jpg scans/ 'more/*.png' --json

  Any readable size and mode is converted to what the network takes; transparency is laid over
  black. Digits must be white on black, as in MNIST: invert scans of ink on paper first.

  Args:
    run_dir: A trained run.
    images: Files, folders and globs: PNG, JPEG, WebP, BMP, GIF, TIFF.
    json: Print a JSON line for each image instead of a table.
    csv: Print CSV instead of a table.
  """
  from isomax_jax import runs

  if not images:
    raise ValueError("images must name a file, folder or glob or more, got none")
  if json and csv:
    raise ValueError("--json and --csv cannot be combined")
  answers = runs.predict(run_dir, images)
  predictions = [answer for answer in answers if isinstance(answer, Prediction)]
  refusals = [answer for answer in answers if isinstance(answer, Refusal)]
  if json:
    for row in map(_row, predictions):
      print(json_module.dumps(row))
  elif csv:
    _print_csv(predictions)
  else:
    _print_table(predictions)
  for refusal in refusals:
    print(f"isomax-jax: {printable(refusal.reason)}", file=sys.stderr)
  return 1 if refusals else 0


def _row(prediction: Prediction) -> dict[str, str | float | bool]:
  return {**prediction._asdict(), "path": str(prediction.path)}


def _print_csv(predictions: Sequence[Prediction]) -> None:
  writer = csv_module.DictWriter(sys.stdout, Prediction._fields, lineterminator="\n")
  writer.writeheader()
  for prediction in predictions:
    # Bytes of a name that are no text cannot be written as such.
    name = os.fsencode(prediction.path).decode(errors="backslashreplace")
    writer.writerow({**_row(prediction), "path": name})


def _print_table(predictions: Sequence[Prediction]) -> None:
  from isomax_jax.cli._tables import console, show
  from isomax_jax.reporting.tables import Column, Table

  columns = [
    *(Column("image", is_text=True), Column("label", is_text=True)),
    *(Column("calibrated probability"), Column("score"), Column("decision", is_text=True)),
  ]
  rows, styles = [], {}
  folders = defaultdict(list)
  for i, p in enumerate(predictions):
    decision, styles[i, 4] = ("known", "green") if p.known else ("unknown", "red")
    name, label = printable(str(p.path)), printable(p.label)
    rows.append([name, label, f"{p.probability:.1%}", f"{p.score:.4f}", decision])
    folders[p.path.parent].append(p.known)
  show(console(), Table(columns=columns, rows=rows), styles=styles)
  for folder, known in folders.items():
    print(f"{printable(str(folder))}: {sum(known)} known, {len(known) - sum(known)} unknown")
