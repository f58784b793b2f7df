import io
import os
import statistics

import pytest
from rich.console import Console

from isomax_jax.cli._tables import benchmark_tables, console, results_table, show
from isomax_jax.reporting import Record
from isomax_jax.reporting.records import DETECTION
from isomax_jax.reporting.tables import Column, Table


def record(**values):
  shared = {
    "experiment": "demo", "model": "small_cnn", "head": "isomax", "entropic_scale": 10.0,
    "in_set": "mnist_5k:0-7", "seed": 0, "epochs": 2, "n_in": 3, "n_out": 4, "device": "cpu",
    "versions": {}, "wall_time": 1.0, "time": "",
  }  # fmt: skip
  return Record(**(shared | values))


VALUES = {
  ("energy", "mnist_5k:8,9"): 0.5,
  ("energy", "letters"): 0.9,
  ("energy", "photos"): 0.8,
  ("odin", "mnist_5k:8,9"): 0.7,
  ("odin", "letters"): 0.75,
  ("odin", "photos"): 0.95,
}
OPTIONS = {"odin": ({"epsilon": 0.0014, "temperature": 1000.0}, "letters"), "energy": ({}, None)}


def rows(table):
  return [[column.name for column in table.columns], *table.rows]


def drawn(table, width, **options):
  """Return the lines of a table on a console of a width."""
  screen = io.StringIO()
  show(Console(file=screen, width=width, **options), table)
  return screen.getvalue().splitlines()


def blocks(lines):
  """Return the rows of each block, whose folded cells are put together again."""
  found = []
  for line in lines:
    if line.startswith(("┏", "┡")):
      found += [[]] if line.startswith("┏") else []
    elif line.startswith(("┃", "│")):
      found[-1].append([cell.strip() for cell in line[1:-1].split(line[0])])
  return found


@pytest.fixture(scope="module")
def shown():
  detections = [
    record(
      detector=detector,
      out_set=out_set,
      metric=metric,
      value=value if metric == "auroc" else 0.1,
      options=OPTIONS[detector][0],
      tuned_on=OPTIONS[detector][1],
    )
    for (detector, out_set), value in VALUES.items()
    for metric in DETECTION
  ]
  times = [
    record(detector="energy", metric="relative_time", value=1.004),
    record(detector="odin", metric="relative_time", value=3.5),
  ]
  return list(
    benchmark_tables(
      [*detections, *times], near=["mnist_5k:8,9"], refused=["vim"], title="runs/digits"
    )
  )


def test_groups_are_means_of_their_sets_the_best_detector_first(shown):
  near, far = shown[:2]
  assert near.title == "runs/digits: near sets, mnist_5k:8,9"
  assert far.title == "runs/digits: far sets, letters, photos"
  header, odin, energy, vim = rows(near)
  auroc = header.index("AUROC")
  assert [row[0] for row in (odin, energy, vim)] == ["ODIN", "energy", "ViM"]
  assert [row[1] for row in (odin, energy)] == ["3.50", "1.00"]
  assert [row[auroc] for row in (odin, energy)] == ["70.0", "50.0"]
  far_of_odin = 100 * statistics.fmean([0.75, 0.95])
  assert [row[auroc] for row in rows(far)[1:3]] == [f"{far_of_odin:.1f}†", "85.0"]


def test_what_was_refused_has_dashes(shown):
  for table in shown[:3]:
    last = rows(table)[-1]
    assert last == ["ViM", *["–"] * (len(last) - 1)]


def test_numbers_of_a_set_that_was_tuned_on_are_marked_and_the_others_not(shown):
  header, odin, energy, _ = rows(shown[2])
  assert header[1:] == ["mnist_5k:8,9", "letters", "photos"]
  assert odin[1:] == ["70.0", "75.0†", "95.0"]
  assert energy[1:] == ["50.0", "90.0", "80.0"]
  assert "†: options chosen on this very set" in shown[2].notes
  assert shown[2].notes[-1] == "ODIN: epsilon 0.0014, temperature 1000; chosen on letters"
  assert drawn(shown[2], 80)[-1] == shown[2].notes[-1]


SETS = (
  "mnist_5k, other classes", "letters", "photos", "tiny_imagenet_resize/antialiased",
  "photographs/of/the/field/2024/sorted", "photographs/of/the/field/2024/unsorted",
)  # fmt: skip
METHODS = ("SoftMax+MPS", "SoftMax+ES", "IsoMax (outlier exposure)+ES")


@pytest.fixture(scope="module")
def six_sets():
  """Return a table of three methods and six sets, each number another."""
  names = [Column(metric, group=name) for name in SETS for metric in ("TNR@TPR95", "AUROC")]
  cells = [
    [method, "97.0 ± 0.4", *(f"{10 + i + 20 * j}.{j} ± 1.{i % 10}" for i in range(12))]
    for j, method in enumerate(METHODS)
  ]
  columns = [Column("method"), Column("accuracy"), *names]
  return Table(title="runs/digits", columns=columns, rows=cells, best={(1, 2), (0, 13)})


def test_a_table_of_six_sets_is_continued_in_blocks_of_a_narrow_console(six_sets):
  lines = drawn(six_sets, 80)
  assert max(map(len, lines)) <= 80
  parts = blocks(lines)
  assert len(parts) > 2
  titles = [line.strip() for line in lines if line.startswith("runs/digits")]
  assert titles == ["runs/digits", *["runs/digits, continued"] * (len(parts) - 1)]
  numbers = [[] for _ in METHODS]
  for part in parts:
    assert [row[0] for row in part if row[0]] == ["method", *METHODS]
    body = part[-len(METHODS) :]
    for found, row in zip(numbers, body, strict=True):
      found += row[1:]
    # Both metrics of a set are in one block, below its whole name.
    head = ["".join(cells).replace(" ", "") for cells in zip(*part[: -len(METHODS)], strict=True)]
    head.remove("method")
    sets = [text.removesuffix("TNR@TPR95").removesuffix("AUROC") for text in head]
    sets = [name for name in sets if name != "accuracy"]
    assert sets[::2] == sets[1::2]
    assert set(sets) <= {name.replace(" ", "") for name in SETS}
  assert numbers == [row[1:] for row in six_sets.rows]


def test_a_wide_console_has_a_table_in_one_piece(six_sets):
  lines = drawn(six_sets, 600)
  assert len(blocks(lines)) == 1
  header = blocks(lines)[0]
  assert header[0][2:4] == ["mnist_5k, other classes"] * 2
  assert header[1][:4] == ["method", "accuracy", "TNR@TPR95", "AUROC"]


def test_a_name_is_folded_where_its_parts_end_and_never_cut():
  path = "/home/ada/photographs of the field/2024/one_very_long_name_of_a_photograph.jpeg"
  table = Table(
    columns=[Column("image"), Column("label", is_text=True), Column("score")],
    rows=[[path, "Pneumonoultramicroscopicsilicovolcanoconiosis", "-0.1234"]],
  )
  for width in (40, 80, 200):
    lines = drawn(table, width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    shown = {}
    for header, *body in blocks(lines):
      shown |= dict(zip(header, map("".join, zip(*body, strict=True)), strict=True))
    assert list(shown) == [column.name for column in table.columns]
    assert [cell.replace(" ", "") for cell in shown.values()] == [
      cell.replace(" ", "") for cell in table.rows[0]
    ]


def test_the_best_of_a_column_is_bold_on_a_terminal(six_sets):
  lines = drawn(six_sets, 600, force_terminal=True, color_system="standard")
  bold = [part.split("\x1b")[0] for line in lines for part in line.split("\x1b[1m")[1:]]
  assert [text.strip() for text in bold if "±" in text] == ["21.0 ± 1.1", "30.1 ± 1.0"]


def test_a_table_without_rows_has_its_columns():
  assert blocks(drawn(Table(columns=[Column(""), Column("")], rows=[]), 80)) == [[["", ""]]]


def test_rows_that_head_others_stand_alone():
  columns = [Column(""), Column("AUROC")]
  table = Table(columns=columns, rows=[["seed 0"], ["IsoMax+ES", "98.0"]])
  assert blocks(drawn(table, 80))[0][1:] == [["seed 0", ""], ["IsoMax+ES", "98.0"]]


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("0", 160), ("", 160), ("7", 40)])
def test_a_pipe_is_as_wide_as_columns_says(monkeypatch, columns, width):
  monkeypatch.setenv("COLUMNS", columns)
  assert console().width == width


def test_results_are_means_of_each_method_on_each_set():
  found = [
    record(head=head, seed=seed, detector=detector, out_set=out_set, metric=metric, value=value)
    for head, value in (("softmax", 0.5), ("isomax", 0.75))
    for seed in (0, 1)
    for detector in ("energy", "maximum_probability", "entropic_score")
    for out_set in ("mnist_5k:8,9", "letters")
    for metric in ("auroc", "tnr_at_tpr", "fpr_at_tpr")
  ]
  found += [
    record(head=head, seed=seed, metric="accuracy", value=0.9 + 0.02 * seed)
    for head in ("softmax", "isomax")
    for seed in (0, 1)
  ]
  table = results_table(found, title="", detectors=("maximum_probability", "entropic_score"))
  assert [column.group for column in table.columns][2:] == [
    *["mnist_5k, other classes"] * 2,
    *["letters"] * 2,
  ]
  assert rows(table)[0] == ["method", "accuracy", *["TNR@TPR95", "AUROC"] * 2]
  assert [row[0] for row in table.rows] == ["SoftMax+MPS", "SoftMax+ES", "IsoMax+MPS", "IsoMax+ES"]
  assert list(table.rows[3][1:]) == ["91.0 ± 1.4", *["75.0 ± 0.0"] * 4]
  assert len(results_table(found, title="").rows) == 6


def test_a_row_of_another_number_of_cells_is_refused():
  with pytest.raises(ValueError, match=r"^rows must have 1 or 3 cells, got 2 in that of 'a'$"):
    Table(columns=[Column("x"), Column("y"), Column("z")], rows=[["a"], ["a", "b"]])


def test_a_table_without_columns_is_refused():
  with pytest.raises(ValueError, match="columns must be one or more, got none"):
    Table(columns=[], rows=[])
  with pytest.raises(ValueError, match="rows must have 1 or 2 cells, got 0 in that of ''"):
    Table(columns=[Column("a"), Column("b")], rows=[[]])


def test_thousands_stay_with_their_number():
  table = Table(
    columns=[Column("set"), *(Column(name, is_text=True) for name in ("images", "where"))],
    rows=[["tiny_imagenet", "train 50,000", "from the publisher's address, by download"]],
  )
  assert any("50,000" in line for line in drawn(table, 40))


def test_the_rows_of_a_single_column_are_no_headings():
  lines = drawn(Table(columns=[Column("run")], rows=[["/runs/first"], ["/runs/second"]]), 160)
  assert [line.strip("│ ") for line in lines if "/runs/" in line] == ["/runs/first", "/runs/second"]


def test_a_table_follows_the_window_of_its_terminal(monkeypatch):
  monkeypatch.delenv("COLUMNS", raising=False)
  monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
  sizes = {"width": 150}
  monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((sizes["width"], 40)))
  terminal = console()
  assert terminal.width == 150
  sizes["width"] = 70
  assert terminal.width == 70
