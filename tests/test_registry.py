"""Registries: what others register is found by name, here and in other processes."""

import dataclasses
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from isomax_jax import _registry
from isomax_jax._registry import Registry, add_all, added, all_or_nothing
from isomax_jax.data import SPECS
from isomax_jax.detectors import DETECTORS, DetectorEntry
from isomax_jax.heads import HEADS
from isomax_jax.models import MODELS
from isomax_jax.training import OBJECTIVES

ROOT = Path(__file__).parents[1]
REGISTRIES = {
  "heads": HEADS,
  "models": MODELS,
  "detectors": DETECTORS,
  "objectives": OBJECTIVES,
  "specs": SPECS,
}


class Entry(NamedTuple):
  name: str
  label: str = "a label"


@pytest.fixture(autouse=True)
def restored(monkeypatch):
  """Forget afterwards what a test registers."""
  monkeypatch.setattr(_registry, "_ADDED", [])
  for registry in REGISTRIES.values():
    monkeypatch.setattr(registry, "_entries", dict(registry))


@pytest.fixture
def registry():
  return Registry(
    "thing", Entry, "tests.nowhere:THINGS", [Entry("one", "number one"), Entry("two")]
  )


def test_it_is_a_mapping_in_the_order_of_its_records(registry):
  assert list(registry) == ["one", "two"]
  assert len(registry) == 2
  assert registry["one"] == Entry("one", "number one")
  assert "three" not in registry
  assert registry.get("three") is None
  assert added() == []


def test_what_is_registered_is_found(registry):
  entry = Entry("three", "number three")
  registry.register(entry)
  assert registry["three"] is registry.find("three") is entry
  assert list(registry) == ["one", "two", "three"]
  assert registry.label("three") == "number three"
  assert added() == [(registry, entry)]


def test_the_same_again_is_nothing(registry):
  first, again = Entry("three"), Entry("three")
  registry.register(first)
  registry.register(again)
  assert registry["three"] is first
  assert added() == [(registry, first)]


def test_another_under_a_name_is_refused(registry):
  registry.register(Entry("three"))
  for other in (Entry("three", "another"), Entry("one")):
    message = f"^another thing has the name '{other.name}': choose another$"
    with pytest.raises(ValueError, match=message):
      registry.register(other)
  assert registry["three"] == Entry("three")
  assert registry["one"] == Entry("one", "number one")
  assert added() == [(registry, Entry("three"))]


@pytest.mark.parametrize(
  "name",
  [
    "",
    "a b",
    "a|b",
    "a:b",
    "a,b",
    "a\n",
    "a\x1b[2J",
    "-x",
    "../x",
    "a/../x",
    "a/b/c",
    "\ud800",
    None,
    3,
  ],
)
def test_a_name_that_cannot_be_one_is_refused(registry, name):
  message = r"^name of a thing must be of letters, digits, '_', '-', '\.' and '\+', .*, got "
  with pytest.raises(ValueError, match=message):
    registry.register(Entry(name))
  assert list(registry) == ["one", "two"]
  assert added() == []


@pytest.mark.parametrize("name", ["größe", "a.b", "resnet+", "x-1", "2d", "set/28x28x1"])
def test_a_name_may_be(registry, name):
  registry.register(Entry(name))
  assert registry.find(name).name == name


def test_a_record_is_of_its_registry_and_its_fields_of_their_types(registry):
  with pytest.raises(TypeError, match=r"^a thing must be a Entry, got 'three'$"):
    registry.register("three")
  with pytest.raises(TypeError, match=r"^a head must be a HeadEntry, got Entry\("):
    HEADS.register(Entry("three"))
  with pytest.raises(ValueError, match=r"^thing 'three': label must be str, got 3$"):
    registry.register(Entry("three", 3))
  assert "three" not in registry
  assert added() == []


@pytest.mark.parametrize(
  ("registry", "changes", "message"),
  [
    (HEADS, {"entropic_scale": 0.0}, "entropic_scale must be a positive, finite number, got 0.0"),
    (HEADS, {"entropic_scale": "10"}, "entropic_scale must be a number, got '10'"),
    (HEADS, {"colour": "red-ish"}, "colour must be like '#56b4e9', got 'red-ish'"),
    (HEADS, {"linen": None}, "linen must be .*Callable.*, got None"),
    (DETECTORS, {"needs": ("foo",)}, r"needs must be .*, got \('foo',\)"),
    (DETECTORS, {"needs": "features"}, "needs must be .*, got 'features'"),
    (DETECTORS, {"fit_on": "nonsense"}, "fit_on must be .*, got 'nonsense'"),
    (SPECS, {"class_names": ["a", "b"]}, r"class_names must be .*, got \['a', 'b'\]"),
    (SPECS, {"example_shape": (8, 8, 4)}, r"image_shape must be .*, got \(8, 8, 4\)"),
    (SPECS, {"dtype": "int16"}, "unknown dtype 'int16'; known: float32, uint8"),
    (SPECS, {"splits": {}}, "it must have a class, a split"),
  ],
)
def test_what_no_record_can_hold_is_refused(registry, changes, message):
  entry = next(iter(registry.values()))
  replace = entry._replace if hasattr(entry, "_replace") else partial(dataclasses.replace, entry)
  with pytest.raises(ValueError, match=f"^{registry.kind} 'mine': {message}"):
    registry.register(replace(name="mine", **changes))
  assert "mine" not in registry


@pytest.mark.parametrize(
  ("registry", "name"), [(DETECTORS, "all"), (DETECTORS, "test"), (SPECS, "adversarial")]
)
def test_a_name_that_means_something_else_is_refused(registry, name):
  entry = next(iter(registry.values()))
  replace = entry._replace if hasattr(entry, "_replace") else partial(dataclasses.replace, entry)
  with pytest.raises(ValueError, match=f"and not '{name}'.*, got '{name}'$"):
    registry.register(replace(name=name))


def test_what_was_registered_before_an_error_is_forgotten(registry):
  registry.register(Entry("three"))
  with pytest.raises(ValueError, match="another thing"), all_or_nothing():
    add_all([(registry, Entry("four")), (registry, Entry("one"))])
  assert list(registry) == ["one", "two", "three"]
  assert added() == [(registry, Entry("three"))]


def test_a_record_that_cannot_be_sent_is_named():
  DETECTORS.register(DetectorEntry("mine", lambda: DETECTORS["gen"].factory(), "mine"))
  with pytest.raises(ValueError, match=r"^detector 'mine' cannot be sent to other processes: "):
    added()


def test_an_unknown_name_lists_the_known_ones(registry):
  message = (
    " 'three'; known: one, two; one from outside is known once its module is imported, in a shell "
    "by --import MODULE$"
  )
  with pytest.raises(ValueError, match=rf"^unknown thing{message}"):
    registry.find("three")
  with pytest.raises(ValueError, match=rf"^unknown config\.thing{message}"):
    registry.find("three", argument="config.thing")


def test_the_label_of_what_is_unknown_is_its_name(registry):
  assert registry.label("one") == "number one"
  assert registry.label("three") == "three"


@pytest.mark.parametrize("name", REGISTRIES)
def test_each_record_of_the_library_has_its_name_and_a_label(name):
  registry = REGISTRIES[name]
  assert len(registry) > 3
  for key, entry in registry.items():
    assert entry.name == key
    assert registry.find(key) is entry
    if registry is not SPECS:  # Sets are called by their names.
      assert registry.label(key) == entry.label
      assert isinstance(entry.label, str)
      assert entry.label


@pytest.mark.parametrize("name", REGISTRIES)
def test_a_registry_is_sent_as_the_place_where_it_is(name):
  assert pickle.loads(pickle.dumps(REGISTRIES[name])) is REGISTRIES[name]


def test_what_was_added_is_added_again_elsewhere():
  entry = DetectorEntry("mine", DETECTORS["gen"].factory, "mine")
  DETECTORS.register(entry)
  sent = pickle.dumps(added())
  del DETECTORS._entries["mine"]
  _registry._ADDED.clear()
  add_all(pickle.loads(sent))
  add_all(pickle.loads(sent))
  assert DETECTORS["mine"] == entry
  assert added() == [(DETECTORS, entry)]


def test_a_fresh_process_gets_what_was_added():
  DETECTORS.register(DetectorEntry("mine", DETECTORS["gen"].factory, "my own"))
  program = (
    "import pickle, sys\n"
    "from isomax_jax._registry import add_all\n"
    "add_all(pickle.loads(sys.stdin.buffer.read()))\n"
    "from isomax_jax.detectors import DETECTORS\n"
    "print(DETECTORS.label('mine'), DETECTORS['mine'].factory is DETECTORS['gen'].factory)\n"
  )
  result = subprocess.run(
    [sys.executable, "-c", program],
    cwd=ROOT, input=pickle.dumps(added()), capture_output=True, check=True,
  )  # fmt: skip
  assert result.stdout == b"my own True\n"
