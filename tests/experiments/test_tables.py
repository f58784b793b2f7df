import dataclasses
import statistics

import pytest

from experiments import table1, table2, tables
from isomax_jax.reporting import Record, append_records, read_records


@pytest.mark.parametrize(("file", "name"), list(tables.TABLES))
def test_the_written_tables_are_those_of_the_records(file, name):
  records, write = tables.TABLES[file, name]
  text = (tables.ROOT / file).read_text()
  assert tables.render(text, name, write(tables.load(tables.RESULTS / records))) == text


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


@pytest.fixture
def record():
  """Make a record of a table's cell."""

  def record(**fields):
    shared = {
      "experiment": "table1", "model": "resnet34", "head": "softmax", "entropic_scale": 1.0,
      "in_set": "cifar10", "out_set": "svhn_cropped", "detector": "maximum_probability", "seed": 0,
      "epochs": 300, "metric": "auroc", "value": 0.9, "n_in": 10, "device": "", "versions": {},
      "wall_time": 1.0, "time": "",
    }  # fmt: skip
    return Record(**(shared | fields))

  return record


def row_of(table, *start):
  (row,) = [line for line in table.splitlines() if line.startswith(f"| {' | '.join(start)} |")]
  return [cell.strip() for cell in row.strip("| ").split(" | ")]


def test_a_table_of_the_paper_has_its_number_ours_and_the_difference(record):
  records = [record(seed=seed, value=value) for seed, value in enumerate((0.90, 0.91, 0.95))]
  records += [record(head="isomax", entropic_scale=10.0, detector="entropic_score", value=0.9712)]
  records += [record(metric="tnr_at_tpr", value=0.1)]
  table = tables.table_writer(table1, "auroc")(records)
  row = row_of(table, "ResNet-34", "CIFAR-10", "SVHN")
  paper = [
    table1.PAPER["resnet34", "cifar10", "svhn_cropped", method, "auroc"]
    for method in (
      "softmax+maximum_probability", "softmax+entropic_score", "isomax+entropic_score"
    )
  ]  # fmt: skip
  assert row[3::2] == [f"{number:.1f}" for number in paper]
  assert row[4] == f"92.0 ± 2.6 (3), {92 - paper[0]:+.1f}"
  assert row[6] == "not run"
  assert row[8] == f"97.1 (1), {97.12 - paper[2]:+.1f}"
  assert table.count("not run") == 54 - 2
  assert "float32" not in table


def test_what_is_no_row_of_the_paper_has_no_number_of_its(record):
  table = tables.table_writer(table1, "auroc")([record(out_set="tiny_imagenet_resize/nearest")])
  row = row_of(table, "ResNet-34", "CIFAR-10", "Tiny ImageNet, nearest")
  assert row[3:] == ["–", "90.0 (1)", "–", "not run", "–", "not run"]


@pytest.mark.parametrize(("float32", "noted"), [(0.9004, False), (0.9006, True), (0.8994, True)])
def test_the_form_with_ties_is_noted_where_it_differs(record, float32, noted):
  plain = record(detector="maximum_probability_float32", value=float32)
  table = tables.table_writer(table1, "auroc")([record(), plain])
  note = f"with its ties at 1: ResNet-34 / CIFAR-10 / SVHN {100 * float32:.1f}."
  assert (note in table) == noted


def test_numbers_of_an_objective_have_a_column_of_their_own(record):
  acet = record(objective="acet", value=0.987)
  table = tables.table_writer(table2, "auroc")([record(), acet])
  column = table.splitlines()[0].split(" | ").index("SoftMax (ACET)+MPS, paper")
  row = row_of(table, "ResNet-34", "CIFAR-10", "SVHN")
  assert row[column : column + 2] == ["98.1", "98.7 (1), +0.6"]
  assert "90.0" not in table  # Of the plain network, which is no method of the table.


def test_pairs_without_a_partner_do_not_count(record):
  shared = {"model": "resnet_small", "out_set": "cifar100", "metric": "tnr_at_tpr"}
  isomax = {"head": "isomax", "entropic_scale": 10.0, "detector": "entropic_score"}
  records = [
    record(seed=0, value=0.5, **shared),
    record(seed=0, value=0.6, **shared, **isomax),
    record(seed=1, value=0.6, **shared, **isomax),
  ]
  assert tables.small_cifar_table(records).splitlines()[-1] == (
    "Means over 1 SoftMax and 2 IsoMax networks. IsoMax+ES rejects more than SoftMax+MPS of the "
    "same known classes and seed in 1 of 1 (CIFAR-100), 0 of 0 (Tiny ImageNet, nearest), 0 of 0 "
    "(Tiny ImageNet, antialiased)."
  )


def test_only_the_last_checkpoint_and_the_heads_own_scale_are_in_the_table(record):
  shared = {"model": "resnet_small", "head": "isomax", "out_set": "cifar100"}
  shared |= {"detector": "entropic_score"}
  records = [
    record(**shared, entropic_scale=10.0, value=0.8),
    record(**shared, entropic_scale=10.0, value=0.1, checkpoint="epoch 2"),
    record(**shared, entropic_scale=3.0, value=0.2),
  ]
  assert row_of(tables.small_cifar_table(records), "IsoMax+ES")[3] == "80.0"
  assert row_of(tables.small_cifar_factors_table(records), "CIFAR-100")[3] == "80.0"


@pytest.fixture
def short(record):
  """Make a record of an IsoMax network at a shortened schedule."""

  def short(**fields):
    shared = {
      "experiment": "short_cifar", "head": "isomax", "entropic_scale": 10.0, "epochs": 60,
      "out_set": "cifar100", "detector": "entropic_score", "device": "1 × A (gpu)",
    }  # fmt: skip
    return record(**(shared | fields))

  return short


def short_table(*records):
  return tables.short_cifar_table(records, model="resnet34", in_set="cifar10")


def test_tables_of_shortened_networks_never_mix_epochs(short):
  records = [short(epochs=100, value=0.7), *(short(value=0.5, seed=seed) for seed in (0, 1))]
  shown = short_table(*records, short(value=0.9, model="densenet_bc_100"))
  first, second = shown.split("\n\n**")
  assert first.startswith("**ResNet-34, CIFAR-10 known, 60 of the paper's 300 epochs.**")
  assert second.startswith("ResNet-34, CIFAR-10 known, 100 of the paper's 300 epochs.**")
  assert "| IsoMax+ES | not run | not run | 50.0 ± 0.0 |" in first
  assert "| IsoMax+ES | not run | not run | 70.0 |" in second
  assert "Means over 2 IsoMax networks" in first
  assert first.count("not run") == second.count("not run") == 12 * 7 - 1


def test_tables_of_shortened_networks_name_devices_and_what_fewer_have(short):
  both = short(), short(seed=1, device="2 × B (gpu)")
  said = "networks, measured on 1 × A (gpu), 2 × B (gpu)."
  assert f"{said} Of fewer: IsoMax+GEN on CIFAR-100 of 1.\n" in short_table(
    *both, short(detector="gen")
  )
  assert f"{said}\n" in short_table(*both)


def test_a_shortened_network_that_was_not_run_has_no_numbers():
  shown = short_table()
  assert shown.startswith("**ResNet-34, CIFAR-10 known, 60 of the paper's 300 epochs.** Not run.")
  assert shown.count("not run") == 12 * 7


def test_the_difference_of_two_losses_is_a_mean_over_pairs(record):
  records = []
  for seed, (at_once, after) in enumerate([(0.90, 0.91), (0.80, 0.80), (0.70, 0.72)]):
    for experiment, value in (("fused_log", at_once), ("sequential_log", after)):
      run = {"experiment": experiment, "seed": seed, "in_set": "mnist_5k:0-7"}
      accuracy = {"out_set": None, "detector": None}
      records += [
        record(**run, **accuracy, metric="accuracy", value=value),
        record(**run, **accuracy, metric="infinite_losses", value=float(seed)),
      ]
      for out_set in ("mnist_5k:8,9", "letters", "photos"):
        for metric in ("auroc", "tnr_at_tpr"):
          shared = {"out_set": out_set, "metric": metric, "value": value}
          records.append(record(**run, **shared, detector="entropic_score"))
          records.append(record(**run, **{**shared, "value": 0.0}, detector="energy"))
  table = tables.sequential_log_table(records)
  differences = row_of(table, "difference, pair by pair")
  # 1, 0 and 2 points: their mean, and their deviation over the root of three.
  assert differences[1:] == [f"+1.00 ± {1 / 3**0.5:.2f}"] * 7
  assert row_of(table, "at once")[1] == "80.00 ± 5.77"
  assert row_of(table, "at once")[-1] == "3"


def test_a_temperature_moves_auroc_network_by_network(record):
  records = []
  for seed, (plain, calibrated) in enumerate([(0.90, 0.91), (0.80, 0.80), (0.70, 0.72)]):
    run = {"seed": seed, "in_set": "mnist_5k:0-7"}
    none = {"out_set": None, "detector": None}
    for head, scale in (("softmax", 1.0), ("isomax", 10.0)):
      network = {**run, "head": head, "entropic_scale": scale}
      records += [
        record(**network, **none, metric=metric, value=value)
        for metric, value in (
          ("temperature", 1.5 + seed), ("accuracy", plain),
          ("negative_log_likelihood", 0.1234), ("calibrated_negative_log_likelihood", 0.0555),
          ("expected_calibration_error", 0.25), ("calibrated_expected_calibration_error", 0.01),
        )
      ]  # fmt: skip
      for out_set in ("mnist_5k:8,9", "letters", "photos"):
        for name in ("entropic_score", "maximum_probability"):
          of = {**network, "out_set": out_set}
          records.append(record(**of, detector=name, value=plain))
          records.append(record(**of, detector=f"calibrated_{name}", value=calibrated))
  table = tables.calibration_rankings_table(records)
  assert len(table.splitlines()) == 2 + 4
  assert row_of(table, "IsoMax+ES")[1:] == ["80.00 ± 5.77", f"+1.00 ± {1 / 3**0.5:.2f}"] * 3
  row = row_of(tables.calibration_table(records), "SoftMax")
  assert row[1:4] == ["2.50 ± 0.58", "80.00 ± 5.77", "0.123 ± 0.000"]
  assert row[5:] == ["25.00 ± 0.00", "1.00 ± 0.00"]


def test_own_results_replace_the_tables_that_they_have_records_of(record, tmp_path, monkeypatch):
  text = (tables.ROOT / "docs" / "results.md").read_text()
  monkeypatch.setattr(tables, "ROOT", tmp_path)
  (tmp_path / "docs").mkdir()
  copy = tmp_path / "docs" / "results.md"
  copy.write_text(text)
  shared = {"head": "isomax", "entropic_scale": 10.0, "out_set": None, "detector": None}
  mine = record(experiment="table3", **shared, metric="accuracy", value=0.987)
  append_records(tmp_path / "work" / "table3.jsonl", [mine])
  tables.main(tmp_path / "work")
  changed = [
    (before, after)
    for before, after in zip(text.splitlines(), copy.read_text().splitlines(), strict=True)
    if before != after
  ]
  assert len(changed) == 1
  assert changed[0][1].startswith("| ResNet-34 | CIFAR-10 | ")
  assert "98.7 (1), +3.3" in changed[0][1]


@pytest.mark.parametrize(
  ("seeds", "count", "words"),
  [([0], 3, "(3 splits of the digits, seed 0)"), ([0, 1], 6, "(3 splits of the digits, 2 seeds)")],
)
def test_the_front_says_of_which_networks_it_is(seeds, count, words):
  histograms = tables.load(tables.RESULTS / "quickstart_scores.jsonl")
  caption = tables.front_caption([dataclasses.replace(h, seeds=seeds) for h in histograms])
  assert f"{count} small networks" in caption
  assert words in caption


def test_the_front_shows_the_networks_of_the_first_table():
  records = [
    r
    for r in read_records(tables.RESULTS / "quickstart.jsonl")
    if r.detector == "entropic_score" and r.unknown
  ]
  images = {(r.head, r.unknown): r.n_out for r in records}
  images |= {(r.head, None): r.n_in for r in records}
  histograms = tables.load(tables.RESULTS / "quickstart_scores.jsonl")
  assert {(h.head, h.unknown) for h in histograms} == set(images)
  for h in histograms:
    assert sum(h.counts) == len(h.in_sets) * len(h.seeds) * images[h.head, h.unknown]
    if h.unknown:
      of_set = [r for r in records if (r.head, r.unknown) == (h.head, h.unknown)]
      for metric, shown in (("tnr_at_tpr", h.rejected), ("auroc", h.auroc)):
        mean = statistics.fmean(r.value for r in of_set if r.metric == metric)
        assert shown == pytest.approx(mean, rel=1e-9)
