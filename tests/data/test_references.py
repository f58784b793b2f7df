import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isomax_jax.data import SPECS, Reference, parse_reference


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
  monkeypatch.setitem(SPECS._entries, spec.name, spec)
  assert parse_reference("letters/bold:0,1") == Reference("letters/bold", (0, 1))


def test_description_may_come_from_elsewhere():
  spec = dataclasses.replace(SPECS["letters"], class_names=("a", "b"))
  assert parse_reference("mine:1,0", find=lambda name: spec) == Reference("mine", (1, 0))
  with pytest.raises(ValueError, match=r"^classes of letters must be in 0\.\.1, got 2$"):
    parse_reference("mine:2", find=lambda name: spec)


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
