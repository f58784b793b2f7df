import dataclasses
from pathlib import Path

import numpy as np
import pytest

from experiments.score_histograms import make_histograms, read_histograms, write_histograms
from isomax_jax.reporting import Results

SPLITS = {"mnist_5k:0-7": "mnist_5k:8,9", "mnist_5k:2-9": "mnist_5k:0,1"}


def make_run(head, in_set, seed):
  """Return a run of a hundred known images whose threshold is minus its scale, and of unknown."""
  scale = 1 + seed + len(head)
  # Five images below -scale, one on it, and one that is as certain as float32 can say.
  known = -scale * np.concatenate([[1.5] * 5, [1.0], np.linspace(0.9, 0.1, 93), [0.0]])
  unknown = -scale * np.array([1.2, 1.1, 1.0, 0.5])
  config = {
    "data": {"name": in_set}, "model": {"name": "small_cnn", "head": head}, "seed": seed,
    "optim": {"epochs": 200},
  }  # fmt: skip
  scores = {"test": known, SPLITS[in_set]: unknown, "letters": unknown[1:]}
  return Results(
    path=Path(f"{head}-{in_set}-{seed}"),
    config=config,
    environment={"versions": {"jax": "0.10.2"}, "device": "cpu", "git_commit": "abc"},
    scores={f"entropic_score|{name}": values for name, values in scores.items()},
  )


@pytest.fixture
def runs():
  return [
    make_run(head, in_set, seed)
    for head in ("softmax", "isomax")
    for in_set in SPLITS
    for seed in (0, 1)
  ]


def test_the_images_of_all_networks_are_counted_about_their_own_thresholds(runs):
  histograms = make_histograms(runs)
  assert [(h.head, h.unknown) for h in histograms] == [
    (head, unknown)
    for head in ("softmax", "isomax")
    for unknown in (None, "mnist_5k, other classes", "letters")
  ]
  for h in histograms:
    known, digits, letters = (
      h.unknown == name for name in (None, "mnist_5k, other classes", "letters")
    )
    # An image on the threshold is accepted.
    assert h.rejected == pytest.approx(5 / 100 * known + 2 / 4 * digits + 1 / 3 * letters)
    assert sum(h.counts) == 4 * (100 * known + 4 * digits + 3 * letters)
    assert h.shares.sum() == pytest.approx(1)
    assert (h.in_sets, h.seeds) == (list(SPLITS), [0, 1])
    assert (h.model, h.epochs, h.versions) == ("small_cnn", 200, {"jax": "0.10.2"})
  known = histograms[0]
  assert known.counts[-1] >= 4  # Without any entropy there is no logarithm.
  np.testing.assert_allclose(
    np.diff(known.edges), known.edges[-1] / len([e for e in known.edges if e > 0])
  )
  low = np.searchsorted(known.edges, np.log(1 / 1.5), side="right") - 1
  assert known.counts[low] == 4 * 5


def test_auroc_is_a_mean_over_networks(runs):
  scores = dict(runs[0].scores)
  scores["entropic_score|letters"] = np.array([-100.0])
  runs[0] = dataclasses.replace(runs[0], scores=scores)
  (letters,) = [h for h in make_histograms(runs) if (h.head, h.unknown) == ("softmax", "letters")]
  known = runs[1].scores["entropic_score|test"][:, None]
  others = runs[1].scores["entropic_score|letters"]
  of_other = np.mean((known > others) + 0.5 * (known == others))
  assert letters.auroc == pytest.approx((1 + 3 * of_other) / 4)


def test_networks_and_sets_that_are_missing_are_named(runs):
  with pytest.raises(
    ValueError, match=r"one isomax network for each of .*2-9.* and seeds \[0, 1\]"
  ):
    make_histograms(runs[:-1])
  with pytest.raises(ValueError, match="one softmax network for each of"):
    make_histograms([runs[0], *runs])
  scores = {key: values for key, values in runs[0].scores.items() if "letters" not in key}
  with pytest.raises(ValueError, match="all 4 softmax networks must have scores of letters, got 3"):
    make_histograms([dataclasses.replace(runs[0], scores=scores), *runs[1:]])
  scores = {key: np.zeros_like(values) for key, values in runs[0].scores.items()}
  with pytest.raises(ValueError, match="softmax-mnist_5k:0-7-0: the threshold must be below 0"):
    make_histograms([dataclasses.replace(runs[0], scores=scores), *runs[1:]])


def test_a_file_gives_back_what_was_written(runs, tmp_path):
  histograms = make_histograms(runs)
  for _ in range(2):
    write_histograms(tmp_path / "scores.jsonl", histograms)
  assert read_histograms(tmp_path / "scores.jsonl") == histograms


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"config": {"optim": {"epochs": 10}}}, "one epochs, got 200 and 10"),
    (
      {"config": {"optim": {"epochs": 200, "learning_rate": 0.5}}},
      "trained alike, but differ in optim.learning_rate",
    ),
    ({"environment": {"git_commit": "def"}}, "one git_commit, got abc and def"),
  ],
)
def test_runs_that_differ_in_more_than_known_set_and_seed_are_refused(runs, change, message):
  changed = {name: {**getattr(runs[-1], name), **values} for name, values in change.items()}
  with pytest.raises(ValueError, match=message):
    make_histograms([*runs[:-1], dataclasses.replace(runs[-1], **changed)])
