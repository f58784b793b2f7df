import dataclasses
import io
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch, StepPatch
from sklearn import metrics

from isomax_jax.reporting import read_results, style
from isomax_jax.reporting.figures import (
  reliability_diagram,
  roc_curves,
  save_figure,
  score_histograms,
  training_curves,
)
from isomax_jax.reporting.style import png

KNOWN, UNKNOWN, SOFTMAX, ISOMAX = "#0072b2", "#d55e00", "#7f7f7f", "#009e73"


@pytest.fixture(scope="module")
def runs(pair_dirs):
  """IsoMax and SoftMax, each on the first and on the second split."""
  return [read_results(path) for path in pair_dirs]


def draw(figure):
  figure.canvas.draw()
  return figure


def texts(axes):
  return [text.get_text() for text in axes.texts]


def outlines(axes):
  return {
    to_hex(patch.get_edgecolor()): patch.get_data()
    for patch in axes.patches
    if isinstance(patch, StepPatch) and not patch.get_fill()
  }


def sklearn_auroc(known, unknown):
  labels = np.append(np.ones(len(known)), np.zeros(len(unknown)))
  return metrics.roc_auc_score(labels, np.append(known, unknown))


def test_histograms_have_a_row_an_out_set_and_a_column_a_run(runs):
  softmax, isomax = runs[2], runs[0]
  figure = draw(score_histograms([softmax, isomax]))
  assert [axes.get_title(loc="left") for axes in figure.axes] == [
    *["mnist_5k, other classes"] * 2,
    *["letters"] * 2,
  ]
  top, bottom = figure.axes[:2], figure.axes[2:]
  assert [texts(axes)[-1] for axes in top] == ["SoftMax+MPS", "IsoMax+ES"]
  assert [axes.get_xlabel() for axes in bottom] == [
    "log-odds of the maximum probability (higher: more known)",
    "entropic score, nats (higher: more known)",
  ]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["known (test images)", "unknown", "threshold"]
  assert figure.get_figwidth() == 8


def test_histograms_count_every_image_in_its_bin(runs):
  run = runs[0]
  figure = score_histograms([run])
  for axes, name in zip(figure.axes, run.out_sets, strict=True):
    steps = outlines(axes)
    for colour, scores in ((KNOWN, "test"), (UNKNOWN, name)):
      values = run.scores[f"entropic_score|{scores}"]
      shares, edges, _ = steps[colour]
      np.testing.assert_allclose(shares.sum(), 1, rtol=1e-12)
      middle = len(edges) // 2
      np.testing.assert_allclose(shares[:middle].sum(), np.mean(values < edges[middle]), rtol=1e-12)


def test_histograms_pool_the_runs_of_a_head(runs):
  figure = draw(score_histograms([runs[2], runs[0], runs[3], runs[1]]))
  assert len(figure.axes) == 2 * 2
  assert [texts(axes)[-1] for axes in figure.axes[:2]] == ["SoftMax+MPS", "IsoMax+ES"]
  axes = figure.axes[1]
  assert [line.get_xdata()[0] for line in axes.lines] == [
    run.decision["threshold"] for run in runs[:2]
  ]
  pairs = [
    (run.scores["entropic_score|test"], run.scores[f"entropic_score|{run.out_sets[0]}"])
    for run in runs[:2]
  ]
  assert texts(axes)[0].startswith(
    f"AUROC {100 * np.mean([sklearn_auroc(*p) for p in pairs]):.1f} "
  )
  shares, edges, _ = outlines(axes)[UNKNOWN]
  pooled = np.concatenate([unknown for _, unknown in pairs])
  np.testing.assert_allclose(shares[:20].sum(), np.mean(pooled < edges[20]), rtol=1e-12)


def test_histograms_say_how_well_the_sets_part(runs):
  run = runs[0]
  axes = score_histograms([run]).axes[1]
  known, unknown = (run.scores[f"entropic_score|{name}"] for name in ("test", "letters"))
  auroc = 100 * sklearn_auroc(known, unknown)
  threshold = np.sort(known)[-int(np.ceil(0.95 * len(known)))]
  tnr = 100 * np.mean(unknown < threshold)
  assert texts(axes)[0] == f"AUROC {auroc:.1f}   TNR@TPR95 {tnr:.1f}"


def test_line_marks_the_threshold_of_the_detector_that_decides(runs):
  (line,) = score_histograms([runs[0]]).axes[0].lines
  assert set(line.get_xdata()) == {runs[0].decision["threshold"]}
  assert not score_histograms([runs[0]], detector="maximum_probability").axes[0].lines
  undecided = dataclasses.replace(runs[0], decision=None)
  assert not score_histograms([undecided]).axes[0].lines


def test_scores_over_decades_get_a_logarithmic_axis(runs):
  rng = np.random.default_rng(0)
  scores = {
    "entropic_score|test": np.append(-(10 ** rng.uniform(-8, -2, 500)), [-0.0, 0.0]),
    "entropic_score|letters": -(10 ** rng.uniform(-3, 0, 400)),
  }
  run = dataclasses.replace(runs[0], scores=scores)
  figure = draw(score_histograms([run]))
  (axes,) = figure.axes
  assert axes.get_xscale() == "symlog"
  labels = [label.get_text() for label in axes.get_xticklabels()]
  assert 2 <= len(labels) <= 5
  assert labels[-1] == "$-10^{-1}$" or labels[0] == "$-10^{-1}$"
  for shares, edges, _ in outlines(axes).values():
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-12)
    assert np.all(np.diff(edges) > 0)
  assert score_histograms([runs[0]]).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize("known", [[np.inf, 3.0, 3.5], [np.inf, np.inf], [2.0, 2.0], [-0.0, 0.0]])
def test_histograms_of_infinite_and_of_equal_scores(runs, known):
  known = np.array(known)
  scores = {"energy|test": known, "energy|letters": np.where(known > 3, 2.0, known)}
  run = dataclasses.replace(runs[0], scores=scores)
  figure = draw(score_histograms([run], detector="energy"))
  for shares, _, _ in outlines(figure.axes[0]).values():
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-12)


def test_set_that_one_run_lacks_is_said_to_be_not_scored(runs):
  scores = {key: value for key, value in runs[2].scores.items() if "letters" not in key}
  figure = score_histograms([dataclasses.replace(runs[2], scores=scores), runs[0]])
  assert texts(figure.axes[2]) == ["not scored"]
  assert not figure.axes[2].patches


def test_run_that_was_not_scored_is_left_out(runs):
  bare = dataclasses.replace(runs[2], scores={})
  assert [texts(axes)[-1] for axes in score_histograms([bare, runs[0]]).axes] == [
    "IsoMax+ES",
    texts(score_histograms(runs[:1]).axes[1])[0],
  ]
  assert "SoftMax+MPS" not in texts(roc_curves([bare, runs[0]]).axes[0])


def test_roc_is_that_of_scikit_learn(runs):
  run = runs[0]
  figure = draw(roc_curves([run]))
  assert [axes.get_title(loc="left") for axes in figure.axes] == [
    "mnist_5k, other classes",
    "letters",
  ]
  known, unknown = (run.scores[f"entropic_score|{name}"] for name in ("test", "letters"))
  labels = np.append(np.ones(len(known)), np.zeros(len(unknown)))
  fpr, tpr, _ = metrics.roc_curve(labels, np.append(known, unknown), drop_intermediate=False)
  curve = figure.axes[1].lines[0]
  np.testing.assert_allclose(curve.get_xdata(), fpr, atol=1e-15)
  np.testing.assert_allclose(curve.get_ydata(), tpr, atol=1e-15)
  assert curve.get_color() == ISOMAX
  assert figure.axes[0].get_ylabel() == "known accepted, %"
  assert figure.axes[1].get_xlabel() == "unknown accepted, %"


def test_roc_with_ties_passes_between_them(runs):
  scores = {"energy|test": np.array([1.0, 2.0, 2.0]), "energy|letters": np.array([1.0, 1.0, 2.0])}
  run = dataclasses.replace(runs[0], scores=scores)
  curve = roc_curves([run], detector="energy").axes[0].lines[0]
  np.testing.assert_allclose(curve.get_xydata(), [[0, 0], [1 / 3, 2 / 3], [1, 1]], atol=1e-15)


def test_rocs_of_splits_are_thin_and_their_mean_is_bold(runs):
  figure = draw(roc_curves(runs))
  axes = figure.axes[0]
  curves = [line for line in axes.lines if to_hex(line.get_color()) == SOFTMAX]
  assert [line.get_linewidth() for line in curves] == [0.7, 0.7, 2]
  for line in curves:
    points = line.get_xydata()
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 1]
    assert np.all(np.diff(points, axis=0) >= 0)
  expected = [np.interp(0.3, *line.get_data()) for line in curves[:2]]
  np.testing.assert_allclose(np.interp(0.3, *curves[2].get_data()), np.mean(expected), rtol=1e-12)

  aurocs = [
    sklearn_auroc(run.scores["maximum_probability|test"], run.scores[f"maximum_probability|{near}"])
    for run, near in ((runs[2], "mnist_5k:8,9"), (runs[3], "mnist_5k:0,1"))
  ]
  words = texts(axes)
  assert words[:2] == ["AUROC", "TNR@TPR95"]
  row = words.index("SoftMax+MPS")
  assert words[row + 1] == f"{100 * np.mean(aurocs):.1f}"


def test_many_out_sets_wrap_after_three(runs):
  scores = {f"energy|{name}": np.arange(4.0) for name in ("test", "a", "b", "c", "d")}
  figure = roc_curves([dataclasses.replace(runs[0], scores=scores)], detector="energy")
  assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2


def test_reliability_of_one_run_is_that_of_its_calibration(runs):
  run = runs[0]
  figure = draw(reliability_diagram([run]))
  top_left, top_right, bottom_left, bottom_right = figure.axes
  assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == [
    "as they are: T = 1",
    "calibrated: fitted T",
  ]
  for top, bottom, found in (
    (top_left, bottom_left, run.calibration.before),
    (top_right, bottom_right, run.calibration.after),
  ):
    diagonal, curve = top.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    filled = found.counts > 0
    expected = np.transpose([found.confidence, found.accuracy])[filled]
    np.testing.assert_allclose(curve.get_xydata(), expected, rtol=1e-14)
    (dots,) = top.collections
    np.testing.assert_allclose(dots.get_offsets(), expected, rtol=1e-14)
    areas = dots.get_sizes()
    np.testing.assert_allclose(
      areas - areas.min(),
      250 / 60 * (found.counts[filled] - found.counts[filled].min()),
      rtol=1e-12,
    )
    (steps,) = bottom.patches
    np.testing.assert_array_equal(steps.get_data().values, found.counts)
    np.testing.assert_array_equal(steps.get_data().edges, found.edges)
    low, high = bottom.get_ylim()
    assert low < 1 <= found.counts.max() < high
    assert texts(top) == [f"IsoMax: ECE {100 * found.calibration_error:.1f} %"]


def test_reliability_pools_the_images_of_a_head(runs):
  figure = draw(reliability_diagram([runs[2], runs[0], runs[3], runs[1]]))
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["SoftMax", "IsoMax", "as sure as right"]
  top, _, bottom, _ = figure.axes
  members = [run.calibration.before for run in runs[:2]]
  counts = sum(each.counts for each in members)
  sure = sum(np.nan_to_num(each.confidence) * each.counts for each in members)
  right = sum(np.nan_to_num(each.accuracy) * each.counts for each in members)
  (curve,) = [line for line in top.lines if line.get_color() == ISOMAX]
  expected = np.transpose([sure, right])[counts > 0] / counts[counts > 0, None]
  np.testing.assert_allclose(curve.get_xydata(), expected, rtol=1e-14)
  np.testing.assert_array_equal(outlines(bottom)[ISOMAX].values, counts)
  error = 100 * np.mean([each.calibration_error for each in members])
  assert texts(top)[0] == f"IsoMax: ECE {error:.1f} %"
  assert texts(top)[1].startswith("SoftMax: ECE")


def test_reliability_of_an_objective_has_its_own_name(runs):
  config = {**runs[1].config, "objective": {"name": "acet"}}
  figure = reliability_diagram([runs[0], dataclasses.replace(runs[1], config=config)])
  assert [text.partition(":")[0] for text in texts(figure.axes[0])] == ["IsoMax (ACET)", "IsoMax"]


def test_reliability_leaves_out_what_was_not_calibrated(runs):
  bare = dataclasses.replace(runs[2], calibration=None)
  assert len(texts(reliability_diagram([bare, runs[0]]).axes[0])) == 1
  with pytest.raises(ValueError, match=r"^runs must hold a calibration, got \['.*0'\]$"):
    reliability_diagram([bare])


def test_training_curves_are_the_log(runs):
  figure = draw(training_curves([runs[2], runs[0]]))
  loss, accuracy, entropy = figure.axes
  assert [line.get_color() for line in loss.lines] == [SOFTMAX] * 2 + [ISOMAX] * 2
  for line in loss.lines:
    np.testing.assert_array_equal(line.get_xydata(), [[e, 2.0**-e] for e in range(1, 5)])
  np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [50, 75, 87.5, 93.75])
  np.testing.assert_allclose(entropy.lines[3].get_ydata(), [2, 1.5, 4 / 3, 1.25])
  assert loss.get_yscale() == "log"
  assert [line.get_linestyle() for line in loss.lines] == ["-", "--"] * 2
  assert entropy.lines[-1].get_ydata()[0] == np.log(8)
  assert texts(entropy) == ["log 8, the maximum"]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["SoftMax", "IsoMax", "training", "validation"]


def test_single_validation_is_a_point(runs):
  lines = [line for line in runs[0].metrics if line["split"] == "train" or line["epoch"] == 4]
  figure = training_curves([dataclasses.replace(runs[0], metrics=lines)])
  assert [line.get_marker() for line in figure.axes[0].lines] == ["None", "o"]


def test_training_curves_of_a_loss_of_zero_are_linear(runs):
  metrics_of = [{"epoch": e, "split": "train", "loss": 2.0 - e} for e in (1.0, 2.0)]
  figure = draw(training_curves([dataclasses.replace(runs[0], metrics=metrics_of)]))
  assert figure.axes[0].get_yscale() == "linear"
  assert len(figure.axes[1].lines[0].get_ydata()) == 0


def test_missing_data_are_named(runs):
  empty = dataclasses.replace(runs[0], scores={}, metrics=[])
  with pytest.raises(ValueError, match=r"^runs must hold scores of an unknown set, got \['.*0'\]$"):
    score_histograms([empty])
  with pytest.raises(ValueError, match=r"^runs must hold scores of an unknown set, got \[\]$"):
    roc_curves([])
  with pytest.raises(ValueError, match=r"^runs must hold a training log, got \['.*0'\]$"):
    training_curves([empty])
  for draw_scores in (score_histograms, roc_curves):
    with pytest.raises(ValueError, match=r"no scores 'mmles\|test'; known: maximum_probability\|"):
      draw_scores(runs[:1], detector="mmles")


def test_names_are_text_not_mathematics(runs):
  scores = {"energy|test": np.arange(4.0), r"energy|\frac$x^$": np.arange(3.0)}
  figure = score_histograms([dataclasses.replace(runs[0], scores=scores)], detector="energy")
  draw(figure)
  assert figure.axes[0].get_title(loc="left") == r"\frac\$x^\$"


LONG = (
  "image_folder/photographs-of-the-field-2024-season-sorted-by-hand-32x32x3",
  "image_folder/photographs-of-the-field-2024-season-unsorted-32x32x3",
)


def boxes(figure, artists):
  """Return the boxes of what is written, none of which leaves the figure."""
  figure.draw_without_rendering()
  found = [artist.get_window_extent() for artist in artists if artist.get_text()]
  for box in found:
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1
  return found


def test_long_names_are_whole_and_do_not_overlap(runs):
  scores = {
    f"{detector}|{name}": np.arange(9.0)
    for detector in ("maximum_probability", "entropic_score")
    for name in ("test", *LONG)
  }
  networks = [
    dataclasses.replace(run, scores=scores, config={**run.config, "objective": {"name": name}})
    for name in ("classification", "outlier_exposure", "acet")
    for run in (runs[2], runs[0])
  ]
  for figure in (roc_curves(networks), score_histograms(networks)):
    names = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert {name.replace("\n", "") for name in names} == set(LONG)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    written = [axes._left_title for axes in panels] + [axes.xaxis.label for axes in panels]
    if figure.legends:  # Histograms have the methods' names above them.
      written += [axes.texts[-1] for axes in panels[: len(networks)]]
    found = boxes(figure, written)
    for i, box in enumerate(found):
      assert not any(box.overlaps(other) for other in found[:i])


def test_a_legend_of_long_names_has_lines_that_fit(runs):
  figure = Figure(figsize=(4, 3), layout="constrained")
  names = [f"a head with a long name, number {i}" for i in range(4)]
  style.legend(figure, [Patch(label=name) for name in [*names, "x" * 200]])
  figure.draw_without_rendering()
  (legend,) = figure.legends
  assert [text.get_text().replace("\n", "") for text in legend.get_texts()] == [*names, "x" * 200]
  box = legend.get_window_extent()
  assert box.x0 >= 0
  assert box.x1 <= figure.bbox.x1


def test_figures_are_saved_whole(runs, tmp_path):
  figure = training_curves(runs[:1])
  save_figure(figure, tmp_path / "new" / "figure.png")
  save_figure(figure, tmp_path / "figure.SVG")
  image = matplotlib.image.imread(tmp_path / "new" / "figure.png")
  assert image.shape[:2] == (580, 1600)
  root = ElementTree.parse(tmp_path / "figure.SVG").getroot()
  assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
  path = tmp_path / "figure.png"
  path.write_bytes(b"before")

  def fail(*arguments):
    raise OSError("disk full")

  monkeypatch.setattr("os.replace", fail)
  with pytest.raises(OSError, match="disk full"):
    save_figure(Figure(), path)
  assert path.read_bytes() == b"before"
  assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_other_suffix_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"^path must end in \.png or \.svg, got '.*figure\.gif'$"):
    save_figure(Figure(), tmp_path / "figure.gif")
  assert not list(tmp_path.iterdir())


def test_png_holds_the_pixels():
  rng = np.random.default_rng(0)
  grey = rng.integers(50, 200, (4, 6, 1), dtype=np.uint8)
  colour = rng.integers(50, 200, (4, 6, 3), dtype=np.uint8)
  for image in (grey, colour):
    read = np.round(255 * matplotlib.image.imread(io.BytesIO(png(image)))).astype(np.uint8)
    np.testing.assert_array_equal(read[..., :3], np.broadcast_to(image, (4, 6, 3)))
