import dataclasses
import statistics

import pytest

from experiments import tables
from isomax_jax.evaluation import read_records


@pytest.mark.parametrize(("file", "name"), list(tables.TABLES))
def test_the_written_tables_are_those_of_the_records(file, name):
  records, write = tables.TABLES[file, name]
  text = (tables.ROOT / file).read_text()
  assert tables.render(text, name, write(read_records(tables.RESULTS / records))) == text


def test_the_quickstarts_numbers_are_means_over_its_pairs():
  records = read_records(tables.RESULTS / "quickstart.jsonl")
  near = [
    r.value
    for r in records
    if (r.head, r.detector, r.metric) == ("isomax", "entropic_score", "tnr_at_tpr")
    and r.out_set.startswith("mnist_5k")
  ]
  assert len(near) == 21
  expected = f"{100 * statistics.fmean(near):.1f} ± {100 * statistics.stdev(near):.1f}"
  (row,) = [x for x in tables.quickstart_table(records).splitlines() if x.startswith("| IsoMax+ES")]
  assert row.split(" | ")[2] == expected


def test_pairs_are_counted_by_split_and_seed():
  records = read_records(tables.RESULTS / "quickstart.jsonl")
  worse = [
    dataclasses.replace(r, value=0.0) if (r.head, r.metric) == ("isomax", "tnr_at_tpr") else r
    for r in records
  ]
  line = tables.quickstart_table(worse).splitlines()[-1]
  assert "0 of 21 (unseen digits), 0 of 21 (letters), 0 of 21 (photos)" in line


def test_a_table_needs_its_comments():
  with pytest.raises(ValueError, match="comments of table 'x' must stand once in the text, got 0"):
    tables.render("no comments", "x", "table")
