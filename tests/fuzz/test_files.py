"""JSON and arrays of any content, as all readers get them."""

import io
import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given

from isomax_jax import _files
from isomax_jax._files import parse_json, read_arrays, read_json, read_json_lines
from tests.fuzz.strategies import damaged, fuzzed, json_files, nested, read_or_refuse

OBJECT = {"name": "set:0-7", "seed": 3, "scale": [0.5, 1e-3], "inner": {"flag": True, "none": None}}


@fuzzed(150)
@given(json_files(OBJECT))
def test_json_is_read_as_it_stands_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.json"
  path.write_bytes(content)
  value = read_or_refuse(lambda: read_json(path), path, ValueError)
  if value is not None:
    assert same(value, json.loads(content))
    # What was read can be written, walked and reckoned with.
    json.dumps(value, ensure_ascii=False).encode()
    assert all(isinstance(float(number), float) for number in _ints(value))


def same(one, other):
  return json.dumps(one) == json.dumps(other)


def _ints(value):
  if isinstance(value, dict | list):
    for child in value.values() if isinstance(value, dict) else value:
      yield from _ints(child)
  elif isinstance(value, int):
    yield value


@fuzzed(100)
@given(damaged(b"".join(json.dumps({**OBJECT, "line": n}).encode() + b"\n" for n in range(4))))
def test_json_lines_are_read_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
  path.write_bytes(content)
  lines = read_or_refuse(lambda: read_json_lines(path), path, ValueError)
  assert lines is None or all(isinstance(line, dict) for line in lines)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
    (b'{"a": 18446744073709551616}', "an integer of 20 digits does not fit into 64 bits"),
    (b"-9223372036854775809", "an integer of 20 digits does not fit"),
    (b"9" * 5000, "an integer of 5000 digits does not fit"),
    (b'{"\\ud800": 1}', "surrogates not allowed"),
    (b"[" * 100_000, "nested more than 64 levels deep"),
    (json.dumps(nested(64)).encode(), "nested more than 64 levels deep"),
  ],
)
def test_json_that_would_do_harm_later_is_refused(content, reason):
  with pytest.raises(ValueError, match=reason):
    parse_json(content)


def test_json_at_the_bounds_is_read():
  assert parse_json(json.dumps(nested(63)).encode()) == nested(63)
  assert parse_json(b"[18446744073709551615, -9223372036854775808]") == [2**64 - 1, -(2**63)]
  assert parse_json(b'\xef\xbb\xbf{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}
  assert math.isinf(parse_json(b"-Infinity"))


@pytest.mark.parametrize("read", [read_json, read_json_lines])
def test_a_file_without_end_is_not_read_to_it(tmp_path, monkeypatch, read):
  monkeypatch.setattr(_files, "MAX_JSON_BYTES", 2**20)
  path = tmp_path / "endless.json"
  path.symlink_to("/dev/zero")
  with pytest.raises(ValueError, match=f"^{path}: larger than 1 MiB$"):
    read(path)


ARRAYS = {
  "energy|test": np.linspace(-3, 3, 40),
  "images": np.arange(60, dtype=np.uint8).reshape(4, 5, 3),
}


def packed(save):
  buffer = io.BytesIO()
  save(buffer, **ARRAYS)
  return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_were_written_or_refused(tmp_path, save):
  path = tmp_path / "fuzzed.npz"

  @fuzzed(150)
  @given(damaged(packed(save)))
  def check(content):
    path.write_bytes(content)
    arrays = read_or_refuse(lambda: read_arrays(path), path, ValueError)
    if arrays is not None:
      # The names are not covered by a checksum, and the directory may lack one.
      expected = [array.tobytes() for array in ARRAYS.values()]
      assert all(array.tobytes() in expected for array in arrays.values())

  check()


def npy(header, data=b"", version=1):
  text = header.encode()
  size = len(text).to_bytes(2 if version == 1 else 4, "little")
  return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s}"


def write_zip(path, members, **options):
  with zipfile.ZipFile(path, "w", **options) as archive:
    for name, content in members:
      archive.writestr(name, content)


@pytest.mark.parametrize(
  "content",
  [
    npy(HEADER % ("'<f8'", "(1000000000000000,)"), b"\0" * 8),
    npy(HEADER % ("'<f8'", "(4294967296, 4294967296)"), b"\0" * 8),
    npy(HEADER % ("'<f8'", "(-1,)"), b"\0" * 8),
    npy(HEADER % ("'<f8'", "(1,)"), b"\0" * 16),
    npy(HEADER % ("'|O'", "(1,)"), b"\x80\x04N."),
    npy(HEADER % ("[('a', '|O')]", "(1,)"), b"\x80\x04N."),
    npy(HEADER % ("'<f8'", "(" * 150 + ")" * 150), b""),
    npy("-" * 9000 + "1"),
    npy("(" * 9000),
    npy("{'descr': '''"),
    npy(HEADER % ("'<f8'", "(1L,)"), b"\0" * 8, version=9),
    b"cos\nsystem\n(S'false'\ntR.",
    b"no array",
  ],
)
def test_forged_arrays_are_refused(tmp_path, content):
  path = tmp_path / "forged.npz"
  write_zip(path, [("energy|test.npy", content)])
  assert read_or_refuse(lambda: read_arrays(path), path, ValueError) is None


@pytest.mark.parametrize(
  ("compression", "reason"),
  [
    (zipfile.ZIP_STORED, "its arrays have more than 0 MiB"),
    (zipfile.ZIP_DEFLATED, "its arrays have more than 0 MiB"),
  ],
)
def test_arrays_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch, compression, reason):
  monkeypatch.setattr(_files, "MAX_ARRAY_BYTES", 10_000)
  monkeypatch.setattr(_files, "read_member", lambda *_: pytest.fail("unpacked"))
  path = tmp_path / "bomb.npz"
  write_zip(path, [("a.npy", b"\0" * 6000), ("b.npy", b"\0" * 6000)], compression=compression)
  with pytest.raises(ValueError, match=f"^{path}: not a readable npz file .*{reason}"):
    read_arrays(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_arrays_of_which_more_is_unpacked_than_asked_for_are_refused(tmp_path, compression):
  path = tmp_path / "bomb.npz"
  write_zip(path, [("a.npy", b"\0" * 100)], compression=compression)
  with pytest.raises(ValueError, match="compressed in another way than by deflate"):
    read_arrays(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
  ("names", "reason"),
  [(("a.npy", "a.npy"), "an array is there twice"), (("a", "a.npy"), "'a' is no array")],
)
def test_arrays_of_one_name_are_refused(tmp_path, names, reason):
  path = tmp_path / "twice.npz"
  write_zip(path, [(name, npy(HEADER % ("'|u1'", "(1,)"), b"1")) for name in names])
  with pytest.raises(ValueError, match=reason):
    read_arrays(path)
