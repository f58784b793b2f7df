import pytest

from isomax_jax import data
from isomax_jax.data.out_sets import default_out_sets, find_unknown, load_unknown, overlap

KNOWN = data.parse_reference("mnist_5k:0-3"), data.get_spec("mnist_5k")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("cifar10", r"outliers cifar10 must have images of shape \(28, 28, 1\) as mnist_5k has, got"),
    ("mnist_5k:3,4", "outliers mnist_5k:3,4 holds known classes: 3$"),
    ("mnist_5k", "outliers mnist_5k holds known classes: 0, 1, 2, 3$"),
    ("digits", "unknown data set 'digits'"),
  ],
)
def test_what_is_known_or_does_not_fit_is_refused(text, message):
  with pytest.raises(ValueError, match=message):
    find_unknown(*KNOWN, text, role="outliers")


def test_test_images_are_unknown_and_all_of_other_classes(digits_dir):
  letters = load_unknown(*KNOWN, "letters", data_dir=digits_dir)
  assert len(letters.labels) == data.SPECS["letters"].splits["test"]
  assert len(load_unknown(*KNOWN, "mnist_5k:8,9", data_dir=digits_dir).labels) == 1000


@pytest.mark.parametrize(
  ("one", "other", "common"),
  [
    ("letters", "photos", 0),
    ("letters", "letters:0-3", 4),
    ("mnist_5k:0-7", "mnist_5k:8,9", 0),
    ("cifar10", "cifar100", 0),
    # One archive, resized in two ways.
    ("tiny_imagenet_resize/nearest", "tiny_imagenet_resize/antialiased", 1),
  ],
)
def test_sets_overlap_in_classes_and_archives(one, other, common):
  assert len(overlap(one, other)) == len(overlap(other, one)) == common


def test_default_out_sets_are_other_classes_and_sets_that_fit():
  reference = data.parse_reference("mnist_5k:1-9")
  assert default_out_sets(reference)[:3] == ["mnist_5k:0", "letters", "photos"]
  assert default_out_sets(data.parse_reference("mnist_5k"))[:2] == ["letters", "photos"]
  # Images that were learnt from as outliers are not unknown.
  assert default_out_sets(reference, outliers="letters:0,1") == ["mnist_5k:0", "photos"]
  assert default_out_sets(reference, outliers="mnist_5k:0") == ["letters", "photos"]
  reference = data.parse_reference("mnist_5k:2-9")
  assert default_out_sets(reference, outliers="mnist_5k:0")[0] == "mnist_5k:1"
