"""The records of the detectors: what each says of itself is so."""

import pytest

from isomax_jax.detectors import DETECTORS, Detector, create_detector
from isomax_jax.heads import HEADS
from tests.detectors import tiny

every_detector = pytest.mark.parametrize("name", DETECTORS)


@every_detector
def test_fit_on_is_none_exactly_where_a_fit_needs_nothing(name):
  classifier, _ = tiny.make("linear")
  detector = create_detector(name)
  if DETECTORS[name].fit_on is None:
    assert detector.fit(classifier, []) == ()
    return
  assert DETECTORS[name].fit_on in ("training", "held_out")
  with pytest.raises(ValueError, match=f"^{name} needs training data: there was no example"):
    detector.fit(classifier, [])


@every_detector
def test_needs_and_heads_are_words_that_are_known(name):
  entry = DETECTORS[name]
  assert set(entry.needs) <= {"features", "stages", "pixels", "linear head"}
  assert set(entry.heads or ()) <= set(HEADS)
  assert entry.heads is None or entry.heads
  assert ("linear head" in entry.needs) <= (entry.heads == ("softmax",))
  assert isinstance(entry.factory(), Detector)


@every_detector
def test_what_is_free_needs_the_logits_alone(name):
  entry = DETECTORS[name]
  assert entry.is_free is (not entry.needs and entry.fit_on is None)
  if entry.is_free:
    classifier, training = tiny.make("linear")
    detector = create_detector(name)
    outputs = training.outputs
    alone = outputs._replace(features=None, stages=())
    assert (
      detector.score((), None, None, alone) == detector.score((), classifier, None, outputs)
    ).all()


def test_those_that_cost_nothing():
  free = {name for name, entry in DETECTORS.items() if entry.is_free}
  assert free == {"maximum_probability", "entropic_score", "max_logit", "energy", "mmles", "gen"}


def test_labels_tell_detectors_apart():
  assert len({entry.label for entry in DETECTORS.values()}) == len(DETECTORS)
