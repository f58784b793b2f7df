import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from isomax_jax.reporting.detector_figures import roc_curves, score_histograms

DETECTORS = ("energy", "entropic_score", "knn", "vim", "gen", "odin")
SETS = {"test": 80, "letters": 40, "photos": 30, "mnist_5k:8,9": 50}


@pytest.fixture(scope="module")
def scores():
  """The later a detector stands, the better it is."""
  return {
    f"{detector}|{name}": norm.ppf(np.arange(0.5, size) / size) + 0.4 * quality * (name == "test")
    for quality, detector in enumerate(DETECTORS)
    for name, size in SETS.items()
  }


def area(scores, detector, out_set):
  known, unknown = scores[f"{detector}|test"], scores[f"{detector}|{out_set}"]
  labels = np.append(np.ones(len(known)), np.zeros(len(unknown)))
  return 100 * roc_auc_score(labels, np.append(known, unknown))


def test_rocs_show_the_best_four_and_the_entropic_score(scores):
  figure = roc_curves(scores)
  assert [axes.get_title(loc="left") for axes in figure.axes] == [
    "letters",
    "photos",
    "mnist_5k:8,9",
  ]
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["ODIN", "GEN", "ViM", "kNN", "ES", "1 others"]
  for axes, out_set in zip(figure.axes, list(SETS)[1:], strict=True):
    names = {"ODIN": "odin", "GEN": "gen", "ViM": "vim", "kNN": "knn", "ES": "entropic_score"}
    written = [text.get_text().rpartition(" ") for text in axes.texts]
    assert {names[name]: float(number) for name, _, number in written} == {
      name: pytest.approx(area(scores, name, out_set), abs=0.051) for name in names.values()
    }
    curves = {to_hex(line.get_color()): line.get_xydata() for line in axes.lines[:6]}
    x, y = curves["#0072b2"].T  # the best
    assert 100 * np.trapezoid(y, x) == pytest.approx(area(scores, "odin", out_set))


def test_histograms_have_a_row_a_detector_the_best_on_top(scores):
  figure = score_histograms(scores)
  rows = np.reshape(figure.axes, (6, 3))
  assert [row[0].get_ylabel() for row in rows] == ["ODIN", "GEN", "ViM", "kNN", "ES", "energy"]
  for row, detector in zip(rows, reversed(DETECTORS), strict=True):
    for axes, out_set in zip(row, list(SETS)[1:], strict=True):
      written = float(axes.texts[0].get_text())
      assert written == pytest.approx(area(scores, detector, out_set), abs=0.051)
      known, unknown = (patch.get_data() for patch in axes.patches)
      np.testing.assert_array_equal(known.edges, unknown.edges)
      for stairs, name in ((known, "test"), (unknown, out_set)):
        assert stairs.values.sum() == pytest.approx(1)
        middle = (stairs.edges[1:] + stairs.edges[:-1]) / 2
        values = scores[f"{detector}|{name}"]
        assert stairs.values @ middle == pytest.approx(values.mean(), abs=0.2)


def test_long_names_are_whole_and_do_not_overlap():
  sets = [f"image_folder/photographs-of-the-field-2024-{name}-32x32x3" for name in "abc"]
  rng = np.random.default_rng(0)
  names = ("mahalanobis_perturbed_of_all_four_stages", "energy")
  scores = {f"{name}|{of}": rng.normal(size=30) for name in names for of in ("test", *sets)}
  for draw in (roc_curves, score_histograms):
    figure = draw(scores)
    figure.draw_without_rendering()
    top = figure.axes[:3]
    assert [axes.get_title(loc="left").replace("\n", "") for axes in top] == sets
    boxes = [axes._left_title.get_window_extent() for axes in top]
    for left, right in itertools.pairwise(boxes):
      assert left.x1 < right.x0
    assert boxes[-1].x1 <= figure.bbox.x1
  assert names[0] in [axes.get_ylabel().replace("\n", "") for axes in figure.axes]


def test_scores_of_no_unknown_set_are_refused():
  with pytest.raises(ValueError, match=r"must be of an unknown set too, got energy\|test"):
    roc_curves({"energy|test": np.arange(3.0)})
