import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isomax_jax.data import SPECS, Reference, get_spec, parse_reference


def test_known_sets():
  assert set(SPECS) == {"mnist_5k", "letters", "photos"}
  for name, spec in SPECS.items():
    assert spec.name == name
    assert get_spec(name) is spec
    assert len(set(spec.class_names)) == len(spec.class_names)
    assert spec.source
    assert spec.licence


def test_letters_are_those_that_look_like_no_digit():
  assert "".join(SPECS["letters"].class_names) == "AEFHJKMNPRUVWXacdefhkmnpruvwxy"


def test_photographers_are_named_as_the_licence_asks():
  spec = SPECS["photos"]
  assert "danielbuechele" in spec.source
  assert "vultilion" in spec.source
  assert spec.licence.startswith("CC BY 2.0")


def test_spec_is_frozen_and_hashable():
  spec = SPECS["mnist_5k"]
  assert hash(spec) == hash(dataclasses.replace(spec))
  with pytest.raises(dataclasses.FrozenInstanceError):
    spec.flip = True


def test_unknown_set_lists_the_known_ones():
  message = "^unknown data set 'mnist'; known: letters, mnist_5k, photos$"
  with pytest.raises(ValueError, match=message):
    get_spec("mnist")
  with pytest.raises(ValueError, match=message):
    parse_reference("mnist:1")


@pytest.mark.parametrize(
  ("text", "classes", "canonical"),
  [
    ("mnist_5k", None, "mnist_5k"),
    ("mnist_5k:8,9", (8, 9), "mnist_5k:8,9"),
    ("mnist_5k:9,8", (9, 8), "mnist_5k:9,8"),
    ("mnist_5k:4", (4,), "mnist_5k:4"),
    ("mnist_5k:0-7", (0, 1, 2, 3, 4, 5, 6, 7), "mnist_5k:0-7"),
    ("mnist_5k:0-3,6-9", (0, 1, 2, 3, 6, 7, 8, 9), "mnist_5k:0-3,6-9"),
    ("mnist_5k:8-9", (8, 9), "mnist_5k:8,9"),
    ("mnist_5k:3-3,0,1,2", (3, 0, 1, 2), "mnist_5k:3,0-2"),
  ],
)
def test_reference(text, classes, canonical):
  reference = parse_reference(text)
  assert reference == Reference("mnist_5k", classes)
  assert str(reference) == canonical
  assert f"{reference}" == canonical


@given(st.permutations(range(10)), st.integers(1, 10))
def test_reference_is_read_back(order, count):
  reference = Reference("mnist_5k", tuple(order[:count]))
  assert parse_reference(str(reference)) == reference


def test_reference_to_a_configuration(monkeypatch):
  spec = dataclasses.replace(SPECS["letters"], name="letters/bold")
  monkeypatch.setitem(SPECS, spec.name, spec)
  assert parse_reference("letters/bold:0,1") == Reference("letters/bold", (0, 1))


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("mnist_5k:", "classes of 'mnist_5k:' must be written like 0-3,8, got ''"),
    ("mnist_5k:1,,2", "classes of 'mnist_5k:1,,2' must be written like 0-3,8, got ''"),
    ("mnist_5k:one", "classes of 'mnist_5k:one' must be written like 0-3,8, got 'one'"),
    ("mnist_5k:-1", "classes of 'mnist_5k:-1' must be written like 0-3,8, got '-1'"),
    ("mnist_5k:7-0", "classes of 'mnist_5k:7-0': the range 7-0 runs backwards"),
    ("mnist_5k:8,10", r"classes of mnist_5k must be in 0\.\.9, got 10"),
    ("mnist_5k:0-999999999999", r"classes of mnist_5k must be in 0\.\.9, got 10"),
    ("mnist_5k:1,0-3", "classes of mnist_5k must differ, got 1 twice"),
  ],
)
def test_reference_refused(text, message):
  with pytest.raises(ValueError, match=f"^{message}$"):
    parse_reference(text)
