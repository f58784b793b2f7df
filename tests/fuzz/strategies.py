"""What is done to valid files, and what a reader must make of what comes out.

A reader gives a value or one clear error: of a documented type, on one line, with the file's name.
A fifth of the examples are run by default and all of them by ``FUZZ=1``, the same each time;
``FUZZ=20`` runs twenty times as many, which are others each time.
"""

import copy
import json
import math
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

_FACTOR = float(os.environ.get("FUZZ", "0.2"))


def fuzzed(examples):
  """Return the settings of a test of so many examples, where all are run."""
  return settings(
    max_examples=math.ceil(examples * _FACTOR),
    suppress_health_check=list(HealthCheck),
  )


def read_or_refuse(read, path, errors=(ValueError, OSError)):
  """Return what a reader gives, None if it refuses; any other error passes on and fails."""
  try:
    return read()
  except errors as error:
    message = str(error)
    assert str(path) in message, f"{message!r} does not name {path}"
    assert "\n" not in message
    return None


@st.composite
def damaged(draw, content):
  """Bytes with one to four damages, each of any kind and anywhere."""
  data = bytearray(content)
  for _ in range(draw(st.integers(1, 4))):
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    length = draw(st.integers(1, 40))
    piece = data[at : at + length]
    match draw(st.sampled_from(["flip", "set", "cut", "insert", "delete", "repeat", "move"])):
      case "flip" if piece:
        data[at] ^= 1 << draw(st.integers(0, 7))
      case "set":
        data[at : at + length] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f"])) * len(piece)
      case "cut":
        del data[at:]
      case "insert":
        data[at:at] = draw(st.binary(min_size=1, max_size=40))
      case "delete":
        del data[at : at + length]
      case "repeat":
        data[at:at] = piece * draw(st.integers(1, 3))
      case "move":
        del data[at : at + length]
        to = draw(st.integers(0, len(data)))
        data[to:to] = piece
  return bytes(data)


def nested(depth, inner=None):
  """A list in a list in a list."""
  for _ in range(depth):
    inner = [inner]
  return inner


numbers = st.one_of(
  st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 10**400]),
  st.sampled_from([2.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")]),
)
texts = st.one_of(
  st.sampled_from(["", "test", "../../etc/passwd", "/dev/zero", "\ud800", "a\nb", "\0", "[/x]"]),
  st.text(max_size=8),
)
values = st.recursive(
  st.one_of(st.none(), st.booleans(), numbers, texts),
  lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)
  ),
  max_leaves=5,
)  # fmt: skip
json_values = st.one_of(values, st.sampled_from([60, 100]).map(nested))


@st.composite
def changed(draw, value):
  """A JSON value with one to three changes anywhere: values replaced, keys dropped and added."""
  value = copy.deepcopy(value)
  for _ in range(draw(st.integers(1, 3))):
    places = list(_places(value))
    if not places:
      break
    parent, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "replace", "replace", "drop", "add"])):
      case "replace":
        parent[key] = draw(json_values)
      case "drop":
        del parent[key]
      case "add" if isinstance(parent, dict):
        parent[draw(texts)] = draw(json_values)
      case "add":
        parent.append(draw(json_values))
  return value


def _places(value):
  """Yield each container with each of its keys."""
  keys = value if isinstance(value, dict) else range(len(value))
  for key in list(keys):
    yield value, key
    if isinstance(value[key], dict | list):
      yield from _places(value[key])


@st.composite
def json_files(draw, value):
  """The bytes of a JSON file after changes to its value, its text or its bytes."""
  kind = draw(st.sampled_from(["value", "value", "value", "value", "text", "bytes"]))
  if kind == "value":
    return json.dumps(draw(changed(value))).encode()
  text = json.dumps(value)
  if kind == "bytes":
    return draw(damaged(text.encode()))
  return draw(
    st.sampled_from(
      [
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text.encode() + b"\xff\xfe",
        text.encode() + text.encode(),
        text[:-1].encode() + b', "seed": 1, "seed": 2}',
        text[:-1].encode() + b', "x": ' + b"[" * 100_000,
        text[:-1].encode() + b', "x": ' + b'{"x":' * 990 + b"1" + b"}" * 991,
        text[:-1].encode() + b', "x": ' + b"9" * 5000 + b"}",
        text[:-1].encode() + b', "x": 1e999}',
        b"[" * 100_000,
        b"null",
        b"\0" * 1000,
        b"",
      ]
    )
  )
