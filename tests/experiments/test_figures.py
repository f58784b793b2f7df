import numpy as np
import pytest

from experiments import figures, small_cifar
from experiments.score_histograms import ScoreHistogram
from isomax_jax.heads import HEADS
from isomax_jax.reporting import Record


@pytest.fixture(scope="module")
def records():
  """Records of the small study of two seeds, whose values tell what they are."""
  records = []
  for cell in small_cifar.CELLS:
    for seed in (0, 1):
      shared = {
        "experiment": "small_cifar", "model": cell.model, "head": cell.head, "in_set": cell.in_set,
        "entropic_scale": cell.entropic_scale or HEADS[cell.head].entropic_scale, "seed": seed,
        "epochs": 24, "n_in": 10, "device": "", "versions": {}, "wall_time": 1.0, "time": "",
      }  # fmt: skip
      value = (cell.epoch or 24) / 100 + 0.1 * seed
      measured = {"checkpoint": cell.checkpoint, "out_set": cell.out_set, "detector": cell.detector}
      metrics = ("auroc", "tnr_at_tpr") if cell.detector else ("accuracy",)
      records += [Record(**shared, **measured, metric=m, value=value) for m in metrics]
      if cell.detector is None and cell.epoch is None:
        records += [
          Record(**shared, checkpoint=f"epoch {e}", metric=f"training_{m}", value=1 / e + seed)
          for e in range(1, 25)
          for m in ("loss", "entropy")
        ]
  return records


def test_scales_have_a_panel_each_with_means_over_seeds(records):
  figure = figures.entropic_scales(records)
  *panels, detection = figure.axes
  titles = [axes.get_title(loc="left") for axes in panels]
  assert titles == ["SoftMax", "IsoMax, Es = 1", "IsoMax, Es = 3", "IsoMax, Es = 10"]
  epochs = np.arange(1, 25)
  for axes in panels:
    for line in axes.lines:
      np.testing.assert_allclose(line.get_xydata(), np.stack([epochs, 1 / epochs + 0.5], -1))
  assert detection.get_title(loc="left") == "CIFAR-100: TNR@TPR95, %"
  assert len(detection.lines) == 8
  for line in detection.lines:
    np.testing.assert_allclose(line.get_ydata(), [24, 34])


def test_curves_have_a_line_a_method_with_the_last_checkpoint_at_their_end(records):
  figure = figures.score_curves(records)
  titles = [axes.get_title(loc="left") for axes in figure.axes]
  assert titles == ["known test images", "CIFAR-100", "Tiny ImageNet, nearest"]
  epochs = np.arange(2, 25, 2)
  for axes, methods in zip(figure.axes, (2, 4, 4), strict=True):
    means = [line for line in axes.lines if line.get_linewidth() > 1]
    assert (len(means), len(axes.lines)) == (methods, 3 * methods)
    for line in means:
      np.testing.assert_allclose(line.get_xydata(), np.stack([epochs, epochs + 5], -1))


def test_the_front_shows_what_lies_below_the_threshold_of_each_head():
  shared = {
    "model": "small_cnn", "epochs": 200, "in_sets": ["mnist_5k:0-7"], "seeds": [0], "device": "",
    "versions": {}, "git_commit": None, "time": "",
  }  # fmt: skip
  histograms = [
    ScoreHistogram(
      head=head, unknown=unknown, edges=[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0], counts=counts,
      auroc=auroc, **shared,
    )
    for head, more in (("softmax", 0), ("isomax", 300))
    for unknown, counts, auroc in (
      (None, [10, 40, 50, 400, 500], None),
      ("mnist_5k, other classes", [100 + more, 300, 600 - more, 0, 0], 0.9),
      ("letters", [10, 10, 20, 0, 0], 0.8),
    )
  ]  # fmt: skip
  figure = figures.known_and_unknown(histograms)
  (softmax, isomax), tables = figure.axes[:2], figure.axes[2:]
  assert [axes.get_title(loc="left") for axes in (softmax, isomax)] == ["SoftMax", "IsoMax"]
  texts = [[text.get_text() for text in axes.texts] for axes in (softmax, isomax)]
  # Means of 40 and 50 %, and of 70 and 50 %: the sets weigh alike.
  assert texts == [[f"{share} %\nrejected", "95 %\naccepted"] for share in (45, 60)]
  for axes, unknown in zip(
    (softmax, isomax), ([0.175, 0.275, 0.55, 0, 0], [0.325, 0.275, 0.4, 0, 0]), strict=True
  ):
    np.testing.assert_allclose(axes.lines[0].get_xdata(), 0)
    of_unknown, of_known = axes.patches[::2]
    np.testing.assert_allclose(of_unknown.get_data().values, unknown)
    np.testing.assert_allclose(of_known.get_data().values, [0.01, 0.04, 0.05, 0.4, 0.5])
  shown = [[text.get_text() for text in axes.texts] for axes in tables]
  assert shown == [
    ["", "rejected", "AUROC", "unseen digits", of_digits, "90.0 %", "letters", "50.0 %", "80.0 %"]
    for of_digits in ("40.0 %", "70.0 %")
  ]
