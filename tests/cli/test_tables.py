import statistics

import pytest
from rich.table import Table

from isomax_jax.cli._tables import benchmark_tables
from isomax_jax.reporting import Record
from isomax_jax.reporting.records import DETECTION


def record(**values):
  return Record(
    experiment="demo", model="small_cnn", head="isomax", entropic_scale=10.0, in_set="mnist_5k:0-7",
    seed=0, epochs=2, n_in=3, n_out=4, device="cpu", versions={}, wall_time=1.0, time="", **values
  )  # fmt: skip


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
  columns = [[column.header, *column.cells] for column in table.columns]
  return list(zip(*columns, strict=True))


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
    assert last == ("ViM", *["–"] * (len(last) - 1))


def test_numbers_of_a_set_that_was_tuned_on_are_marked_and_the_others_not(shown):
  assert isinstance(shown[2], Table)
  header, odin, energy, _ = rows(shown[2])
  assert header[1:] == ("mnist_5k:8,9", "letters", "photos")
  assert odin[1:] == ("70.0", "75.0†", "95.0")
  assert energy[1:] == ("50.0", "90.0", "80.0")
  assert "†: options chosen on this very set" in shown
  assert shown[-1] == "ODIN: epsilon 0.0014, temperature 1000; chosen on letters"
