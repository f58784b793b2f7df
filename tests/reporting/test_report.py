import base64
import configparser
import html.parser
import io
import json
import re
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from isomax_jax.heads import HEADS
from isomax_jax.reporting import read_records, read_results, style
from isomax_jax.reporting.report import write_report

VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
  """Tables, headings, text and tags of a page; a tag that is not closed is an error."""

  def __init__(self, text):
    super().__init__()
    self.open, self.tags, self.attributes, self.identifiers = [], set(), [], []
    self.tables, self.text, self.headings = [], [], []
    self.feed(text)
    self.close()
    assert not self.open

  @property
  def words(self):
    """The text that is read, with one blank between words."""
    return " ".join("".join(self.text).split())

  def handle_startendtag(self, tag, attributes):
    self.handle_starttag(tag, attributes)
    if tag not in VOID:
      self.handle_endtag(tag)

  def handle_starttag(self, tag, attributes):
    self.tags.add(tag)
    self.attributes += attributes
    self.identifiers += [value for name, value in attributes if name == "id"]
    if tag not in VOID:
      self.open.append(tag)
    if tag == "table":
      self.tables.append([])
    elif tag == "tr":
      self.tables[-1].append([])
    elif tag in ("td", "th"):
      self.tables[-1][-1].append("")
    elif tag in ("h2", "h3"):
      self.headings.append("")

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    data = data.replace("\N{NO-BREAK SPACE}", " ")
    if not {"style", "svg"} & set(self.open):
      self.text.append(data)
    if {"td", "th"} & set(self.open):
      self.tables[-1][-1][-1] += data
    if {"h2", "h3"} & set(self.open):
      self.headings[-1] += data


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
  """Leave out what takes most of the time, but for the page that is written once for all tests."""
  monkeypatch.setattr(style, "render", lambda figure, suffix: b"<svg></svg>")


def report(run_dirs, path):
  write_report(run_dirs, path)
  return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def source(pair_dirs, tmp_path_factory):
  return report(pair_dirs, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def page(source):
  return Page(source)


def value(run_dir, metric, detector=None, out_set=None):
  (record,) = [
    r
    for r in read_records(run_dir / "records.jsonl")
    if (r.metric, r.detector, r.out_set) == (metric, detector, out_set)
  ]
  return 100 * record.value


def shown(values):
  spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
  return f"{np.mean(values):.1f}{spread}"


def test_table_of_means_holds_the_numbers_of_the_records(page, pair_dirs):
  spans, header, *rows = page.tables[0]
  assert spans == ["", "", "mnist_5k, other classes", "letters"]
  assert header == ["", "accuracy", *["AUROC", "TNR@TPR95"] * 2]
  assert [row[0] for row in rows] == [
    f"{name}, n = 2" for name in ("SoftMax+MPS", "SoftMax+ES", "IsoMax+MPS", "IsoMax+ES")
  ]
  nears = ("mnist_5k:8,9", "mnist_5k:0,1")
  for row, head, detector in (
    (rows[0], pair_dirs[2:], "maximum_probability"),
    (rows[3], pair_dirs[:2], "entropic_score"),
  ):
    assert row[1] == shown([value(run, "accuracy") for run in head])
    for column, metric in ((2, "auroc"), (3, "tnr_at_tpr")):
      near = [value(run, metric, detector, name) for run, name in zip(head, nears, strict=True)]
      assert row[column] == shown(near)
      assert row[column + 2] == shown([value(run, metric, detector, "letters") for run in head])


def test_table_of_runs_holds_each_run_under_its_split(page, pair_dirs):
  _, _, *rows = page.tables[1]
  assert [row for row in rows if len(row) == 1] == [
    ["mnist_5k:0-7, seed 0"],
    ["mnist_5k:2-9, seed 0"],
  ]
  row = rows[rows.index(["mnist_5k:2-9, seed 0"]) + 4]
  run = pair_dirs[1]
  assert row == [
    "IsoMax+ES",
    shown([value(run, "accuracy")]),
    shown([value(run, "auroc", "entropic_score", "mnist_5k:0,1")]),
    shown([value(run, "tnr_at_tpr", "entropic_score", "mnist_5k:0,1")]),
    shown([value(run, "auroc", "entropic_score", "letters")]),
    shown([value(run, "tnr_at_tpr", "entropic_score", "letters")]),
  ]


def test_all_metrics_are_there_and_those_not_measured_are_named(page, pair_dirs):
  classification, near, letters = page.tables[2:5]
  assert classification[0] == ["", "accuracy", "NLL", "ECE"]
  nll = [value(run, "negative_log_likelihood") / 100 for run in pair_dirs[2:]]
  assert classification[1][0] == "SoftMax, n = 2"
  assert classification[1][2] == f"{np.mean(nll):.3f} ± {np.std(nll, ddof=1):.3f}"
  assert classification[1][3] == "not run"
  for table in (near, letters):
    columns = ["AUROC", "TNR@TPR95", "FPR@TPR95", "DTACC", "AUPR in", "AUPR out"]
    assert table[0] == ["", *columns]
    assert [row[4:] for row in table[1:]] == [["not run"] * 3] * 4
  fpr = [value(run, "fpr_at_tpr", "entropic_score", "letters") for run in pair_dirs[:2]]
  assert letters[4][3] == shown(fpr)


def test_best_of_each_column_is_bold(source, pair_dirs):
  tables = re.findall(r"<table>.*?</table>", source, re.DOTALL)
  for column, metric, choose in ((1, "auroc", max), (2, "tnr_at_tpr", max), (3, "fpr_at_tpr", min)):
    means = {
      (head, detector): np.mean([value(run, metric, detector, "letters") for run in runs])
      for head, runs in (("softmax", pair_dirs[2:]), ("isomax", pair_dirs[:2]))
      for detector in ("maximum_probability", "entropic_score")
    }
    rows = [re.findall(r"<td.*?</td>", row) for row in tables[4].split("<tr>")[2:]]
    bold = [i for i, row in enumerate(rows) if 'class="best"' in row[column - 1]]
    best = choose(means.values())
    assert bold == [i for i, mean in enumerate(means.values()) if round(mean - best, 1) == 0]


@pytest.mark.parametrize(
  ("lower", "difference", "looks"), [(0.9, 1e-5, "90.0"), (0.5276, 4e-4 / 8, "52.8")]
)
def test_numbers_that_look_equal_are_bold_together(run_dir, tmp_path, lower, difference, looks):
  path = run_dir / "records.jsonl"
  records = [json.loads(line) for line in path.read_text().splitlines()]
  for record in records:
    if record["metric"] == "auroc":
      record["value"] = lower + difference * (len(record["detector"]) > 14)
  path.write_text("".join(json.dumps(record) + "\n" for record in records))
  source = report([run_dir], tmp_path / "report.html")
  assert source.count(f'<td class="best">{looks}</td>') == 2 * 2 * 2


def test_detectors_have_an_order_of_their_own(run_dir, tmp_path):
  path = run_dir / "records.jsonl"
  lines = path.read_text().splitlines()
  more = [lines[-1].replace("entropic_score", name) for name in ("own", "mmles", "energy")]
  path.write_text("".join(line + "\n" for line in [*reversed(lines), *more]))
  page = Page(report([run_dir], tmp_path / "report.html"))
  names = [row[0].partition("+")[2] for row in page.tables[0][3:]]
  assert names == ["MPS", "ES", "energy", "MMLES", "own"]
  near = page.tables[3]
  assert near[-1] == ["IsoMax+own", *["not run"] * 6]


def test_threshold_says_what_it_does_to_each_set(page, pair_dirs):
  table = page.tables[5]
  assert table[:2] == [
    [*[""] * 3, "accepted, %", "rejected, %"],
    ["", "threshold", "temperature", "known", "mnist_5k, other classes", "letters"],
  ]
  run = read_results(pair_dirs[0])
  threshold = run.decision["threshold"]
  known, near, letters = (
    100 * np.mean(run.scores[f"entropic_score|{name}"] >= threshold)
    for name in ("test", "mnist_5k:8,9", "letters")
  )
  row = table[4]
  assert row[0] == "IsoMax+ES"
  assert float(row[1].replace("−", "-")) == pytest.approx(threshold, rel=1e-3)
  assert row[2] == "0.75"
  assert row[3:] == [f"{known:.1f}", f"{100 - near:.1f}", f"{100 - letters:.1f}"]
  assert "so that 95 % of 20 are accepted" in page.words


def test_calibration_says_what_the_temperature_does(page, pair_dirs):
  table = page.tables[6]
  assert table[:2] == [
    ["", "", "NLL, nats", "ECE, %"],
    ["", "temperature", *["as they are", "calibrated"] * 2],
  ]
  assert [row[0] for row in table[2:]] == [
    *["mnist_5k:0-7, seed 0", "SoftMax", "IsoMax"],
    *["mnist_5k:2-9, seed 0", "SoftMax", "IsoMax"],
  ]
  calibration = read_results(pair_dirs[0]).calibration
  nll = [
    value(pair_dirs[0], f"{kind}negative_log_likelihood") / 100 for kind in ("", "calibrated_")
  ]
  errors = [
    100
    * sum(
      count * abs(right - sure)
      for count, right, sure in zip(found.counts, found.accuracy, found.confidence, strict=True)
      if count
    )
    / 60
    for found in (calibration.before, calibration.after)
  ]
  shown_values = [*(f"{each:.3f}" for each in nll), *(f"{each:.1f}" for each in errors)]
  assert table[4] == ["IsoMax", "0.75", *shown_values]


def test_runs_that_were_not_calibrated_are_left_out(make_run, tmp_path):
  runs = [make_run(tmp_path / head, head=head) for head in ("isomax", "softmax")]
  (runs[0] / "calibration.json").unlink()
  page = Page(report(runs, tmp_path / "report.html"))
  table = next(table for table in page.tables if table[0][2:] == ["NLL, nats", "ECE, %"])
  assert [row[0] for row in table[3:]] == ["SoftMax"]
  (runs[1] / "calibration.json").unlink()
  source = report(runs, tmp_path / "report.html")
  assert "Calibration" not in Page(source).headings
  assert "Reliability" not in source


def test_page_stands_alone(source, page):
  assert "http" not in source
  assert not {"script", "link", "iframe", "object", "embed"} & page.tags
  sources = [text for name, text in page.attributes if name in ("src", "href", "xlink:href")]
  assert sources
  assert all(text.startswith(("data:image/png;base64,", "#")) for text in sources)
  assert "url(" not in source.replace("url(#", "")
  assert len(page.identifiers) == len(set(page.identifiers))
  targets = set(re.findall(r"url\(#([^)]+)\)", source))
  targets |= {text[1:] for text in sources if text.startswith("#")}
  assert targets <= set(page.identifiers)


def test_figures_follow_the_page_into_the_dark(source):
  figures = re.findall(r"<svg.*?</svg>", source, re.DOTALL)
  assert len(figures) == 5
  variables = set(re.findall(r"(--[\w-]+):", source))
  assert {f"--head-{head.colour[1:]}" for head in HEADS.values()} <= variables
  for figure in figures:
    assert not re.search("#ffffff|#24292f|#0072b2|#d55e00|#7f7f7f|#009e73", figure)
    used = set(re.findall(r"var\((--[\w-]+)\)", figure))
    assert {"--ink", "--head-009e73"} <= used <= variables


def test_examples_are_the_images_with_their_scores_and_decisions(source, pair_dirs):
  run = read_results(pair_dirs[2])
  assert source.index("SoftMax, mnist_5k:0-7, seed 0</summary>") < source.index("lowest scores")
  cells = re.findall(
    r'<img class="(\w*)" alt="([^"]+)" src="data:image/png;base64,([^"]+)">\s*<figcaption>([^<]+)<',
    source,
  )
  assert len(cells) == 4 * 3 * 2 * 3
  keys = [
    f"{name}|{end}" for name in ("test", "mnist_5k:8,9", "letters") for end in ("lowest", "highest")
  ]
  expected = [
    (key.partition("|")[0], image, score)
    for key in keys
    for image, score in zip(run.examples[key], run.examples[f"{key}|scores"], strict=True)
  ]
  for (css, alt, data, caption), (name, image, score) in zip(cells, expected, strict=False):
    read = matplotlib.image.imread(io.BytesIO(base64.b64decode(data, validate=True)))
    np.testing.assert_array_equal(np.round(255 * read[..., :1]), image)
    assert float(caption.replace("−", "-")) == pytest.approx(score, rel=1e-3)
    assert css == ("known" if score >= run.decision["threshold"] else "unknown")
    words = "Known test image" if name == "test" else f"Image of {name}"
    assert alt == f"{words}, score {caption}, called {css}"


def test_what_was_run_is_told_by_what_differs(page, pair_dirs):
  table = next(table for table in page.tables if table[0][0] == "run")
  assert table[0] == ["run", "data.name", "model.head", "run.log_epochs"]
  assert table[1] == [str(pair_dirs[2]), "mnist_5k:0-7", "softmax", "0"]
  shared = dict(next(table for table in page.tables if table[0][0] == "setting")[1:])
  assert shared["optim.learning_rate"] == "0.1"
  assert shared["environment.versions.jax"] == "9.8.7"
  assert shared["environment.git_commit"] == "0123456789abcdef"
  assert shared["class names"].startswith("digit 0, digit 1")
  text = page.words
  assert "4 runs of small_cnn · on one toaster · commit 0123456789" in text
  assert "mnist_5k: SoftMax beside IsoMax" in text


HOSTILE = '<script>alert("1")</script>&lt;`${body}--><b>'


def test_what_comes_from_files_is_text(make_run, tmp_path):
  # A backslash is no part of a pattern.
  run_dir = make_run(tmp_path / "<i>run", in_set=r"mnist_5k:\g<9>", near=f"mnist_5k:{HOSTILE}")
  for name, key, value in (
    ("decision.json", "class_names", [HOSTILE, "7"]),
    ("environment.json", "device", HOSTILE),
  ):
    values = json.loads((run_dir / name).read_text())
    (run_dir / name).write_text(json.dumps({**values, key: value}))
  source = report([run_dir], tmp_path / "report.html")
  page = Page(source)
  assert not {"script", "b", "i"} & page.tags
  assert r"IsoMax, mnist_5k:\g<9>, seed 0" in page.words
  assert "<script" not in source
  shared = dict(next(table for table in page.tables if table[0][0] == "setting")[1:])
  assert shared["class names"] == f"{HOSTILE}, 7"
  assert f"Unknown: mnist_5k:{HOSTILE}, lowest scores" in page.words


def test_config_alone_says_what_makes_the_rest(make_run, tmp_path):
  run_dir = make_run(tmp_path / "a run")
  for path in run_dir.iterdir():
    if path.name != "config.json":
      path.unlink()
  page = Page(report([run_dir], tmp_path / "report.html"))
  text = page.words
  for what, command in (
    ("results", "evaluate"),
    ("decision", "train --workdir"),
    ("scores", "evaluate"),
    ("training log", "train --workdir"),
    ("example images", "evaluate"),
  ):
    assert f"No {what} yet; made by isomax-jax {command} '{run_dir}'" in text
  assert "ROC curves" not in page.headings


def test_what_one_run_lacks_does_not_hide_the_other(make_run, tmp_path):
  whole, bare = make_run(tmp_path / "whole"), make_run(tmp_path / "bare", head="softmax")
  for name in ("records.jsonl", "scores.npz", "metrics.jsonl", "examples.npz", "decision.json"):
    (bare / name).unlink()
  page = Page(report([whole, bare], tmp_path / "report.html"))
  text = page.words
  assert f"No results yet; made by isomax-jax evaluate {bare}" in text
  assert str(whole) not in text.replace(str(bare), "").split("What was run")[0]
  assert page.tables[0][3][0] == "IsoMax+MPS"


def test_one_run_has_one_table_of_its_own(run_dir, tmp_path):
  page = Page(report([run_dir], tmp_path / "report.html"))
  assert "This run" in page.headings
  assert "Mean over runs" not in page.headings
  assert page.tables[0][2] == ["mnist_5k:0-7, seed 0"]


def test_seeds_are_averaged_and_other_settings_are_not(make_run, tmp_path):
  runs = [make_run(tmp_path / f"seed{seed}", seed=seed) for seed in (0, 1)]
  runs.append(make_run(tmp_path / "short", epochs=2))
  source = report(runs, tmp_path / "report.html")
  page = Page(source)
  names = [row[0] for row in page.tables[0][2:]]
  assert names == [
    "IsoMax+MPS, optim.epochs 4, n = 2",
    "IsoMax+ES, optim.epochs 4, n = 2",
    "IsoMax+MPS, optim.epochs 2",
    "IsoMax+ES, optim.epochs 2",
  ]
  assert re.findall('aria-label="([^"]*)"', source)[:-1] == [
    "Reliability diagram optim.epochs 4",
    "Reliability diagram optim.epochs 2",
    "Histograms of scores, mnist_5k:0-7, seed 0, optim.epochs 4",
    "Histograms of scores, mnist_5k:0-7, seed 1, optim.epochs 4",
    "Histograms of scores, mnist_5k:0-7, seed 0, optim.epochs 2",
    "ROC curves optim.epochs 4",
    "ROC curves optim.epochs 2",
  ]
  accuracies = [value(run, "accuracy") for run in runs[:2]]
  assert page.tables[0][2][1] == shown(accuracies)


def test_other_objectives_are_other_methods(make_run, tmp_path):
  runs = [make_run(tmp_path / "before"), make_run(tmp_path / "plain", objective="classification")]
  runs.append(make_run(tmp_path / "acet", objective="acet"))
  source = report(runs[::2], tmp_path / "report.html")
  page = Page(source)
  assert [row[0] for row in page.tables[0][2:]][1:] == [
    "IsoMax+MPS, objective.name classification",
    "IsoMax+ES, objective.name classification",
    "IsoMax (ACET)+MPS, objective.name acet",
    "IsoMax (ACET)+ES, objective.name acet",
  ]
  assert "ROC curves objective.name acet" in source
  assert "IsoMax (ACET)+ES" in [row[0] for table in page.tables for row in table[2:]]
  # Configs that do not name the objective are of classifiers.
  page = Page(report(runs[:2], tmp_path / "report.html"))
  assert "have the same settings, split and seed" in page.words


def test_runs_of_before_zero_init_residual_are_told_from_those_that_have_it_on(make_run, tmp_path):
  runs = {on: make_run(tmp_path / str(on), zero_init_residual=on) for on in (None, False, True)}
  page = Page(report([runs[None], runs[True]], tmp_path / "report.html"))
  assert [row[0] for row in page.tables[0][2:]][1:] == [
    "IsoMax+MPS, model.zero_init_residual false",
    "IsoMax+ES, model.zero_init_residual false",
    "IsoMax+MPS, model.zero_init_residual true",
    "IsoMax+ES, model.zero_init_residual true",
  ]
  page = Page(report([runs[None], runs[False]], tmp_path / "report.html"))
  assert "have the same settings, split and seed" in page.words


def test_runs_of_the_same_settings_have_no_mean(make_run, tmp_path):
  runs = [make_run(tmp_path / name) for name in ("one", "two")]
  page = Page(report(runs, tmp_path / "report.html"))
  text = page.words
  assert f"No mean over runs: {runs[0]} and {runs[1]} have the same settings, split and" in text
  assert [row for row in page.tables[0] if len(row) == 1] == [[str(run)] for run in runs]


def test_one_run_given_three_times_has_no_mean(run_dir, tmp_path):
  page = Page(report([run_dir] * 3, tmp_path / "report.html"))
  assert f"No mean over runs: {run_dir} and {run_dir} have the" in page.words


def test_directories_that_are_no_runs_are_named(tmp_path, run_dir):
  with pytest.raises(ValueError, match=r"^run_dirs must name a run directory or more, got none$"):
    write_report([], tmp_path / "report.html")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match=r"empty: not a run directory: config\.json is missing$"):
    write_report([run_dir, tmp_path / "empty"], tmp_path / "report.html")
  assert not (tmp_path / "report.html").exists()


def test_failed_write_leaves_the_earlier_report(tmp_path, run_dir, monkeypatch):
  path = tmp_path / "new" / "report.html"
  write_report([run_dir], path)
  before = path.read_bytes()

  def fail(*arguments):
    raise OSError("disk full")

  monkeypatch.setattr("os.replace", fail)
  with pytest.raises(OSError, match="disk full"):
    write_report([run_dir], path)
  assert path.read_bytes() == before
  assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_long_names_may_be_folded_and_are_whole(make_run, tmp_path):
  name = "mnist_5k:" + "/photographs/of_the_field/" + "x" * 50
  source = report([make_run(tmp_path / "run", in_set=name)], tmp_path / "report.html")
  page = Page(source)
  assert f"{name}, seed 0" in [row[0] for row in page.tables[0]]
  (cell,) = re.findall(r"<th scope=.rowgroup[^>]*><span>(.*?), seed 0</span></th>", source)[:1]
  assert max(map(len, cell.split("<wbr>"))) <= 16
  assert "photographs/<wbr>of_" in cell
  assert "<wbr>" not in re.findall(r"<td[^>]*>(.*?)</td>", source)[0]


def test_templates_are_in_the_wheel():
  root = Path(__file__).parents[2]
  setup = configparser.ConfigParser()
  setup.read(root / "setup.cfg")
  patterns = setup["options.package_data"]["isomax_jax.reporting"].split()
  package = root / "isomax_jax" / "reporting"
  packaged = {path for pattern in patterns for path in package.glob(pattern)}
  assert packaged >= {path for path in package.rglob("*") if path.suffix in (".html", ".css")}
  assert len(packaged) == 2
