import numpy as np
import pytest

from isomax_jax.detectors import create_detector
from isomax_jax.evaluation import tuning
from isomax_jax.runs import Tuning, load, measure_run


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch):
  monkeypatch.setattr(tuning, "ODIN_TEMPERATURES", (1.0, 1000.0))
  monkeypatch.setattr(tuning, "ODIN_EPSILONS", (0.0, 0.01))


@pytest.mark.slow
def test_held_out_test_images_are_in_no_number(trained_run, digits_dir):
  run = load(trained_run)
  options = {"out_sets": ["letters"], "experiment": "held_out", "data_dir": digits_dir}
  whole, _ = measure_run(run, **options)
  rest, records = measure_run(run, **options, held_out=400)
  assert {r.n_in for r in records} == {1000}
  assert {r.n_out for r in records} == {0, 630}
  kept = {image.tobytes() for image in rest.sets["test"].images}
  order = np.random.default_rng(run.config.seed).permutation(1400)
  test = whole.sets["test"].images
  assert kept == {image.tobytes() for image in test[order[400:]]}
  assert len(kept) > 990  # A handful of digits may be twins.
  # Not to the last bit: an image's place in a batch differs.
  np.testing.assert_allclose(
    rest.scores["energy|test"], whole.scores["energy|test"][np.sort(order[400:])], rtol=1e-5
  )


@pytest.mark.slow
def test_images_that_options_are_chosen_on_are_in_no_number(trained_run, digits_dir):
  measured, records = measure_run(
    load(trained_run),
    out_sets=["letters"],
    experiment="held out",
    detectors={"odin": create_detector("odin")},
    tuning=Tuning("adversarial"),
    held_out=300,
    data_dir=digits_dir,
  )
  assert {r.n_in for r in records} == {1100}
  assert measured.detectors["odin"].tuned_on == "adversarial"


@pytest.mark.parametrize(
  ("tune_on", "tune_on_test", "message"),
  [
    ("mnist_5k:8", False, "tune_on: mnist_5k:8 shares images with the out-set mnist_5k:8,9, and"),
    ("mnist_5k:8", True, "tune_on: mnist_5k:8 shares images with the out-set mnist_5k:8,9, and"),
    ("mnist_5k:8,9", False, "shares images with the out-set mnist_5k:8,9"),
    ("mnist_5k:0", True, "out-set mnist_5k:0 holds known classes: 0"),
  ],
)
def test_options_are_not_chosen_on_what_is_tested(
  trained_run, digits_dir, tune_on, tune_on_test, message
):
  """A part of an out-set is refused even where the whole would be allowed, and marked."""
  with pytest.raises(ValueError, match=message):
    measure_run(
      load(trained_run),
      out_sets=["mnist_5k:8,9"],
      experiment="cheating",
      detectors={"odin": create_detector("odin")},
      tuning=Tuning(tune_on, tune_on_test),
      data_dir=digits_dir,
    )
