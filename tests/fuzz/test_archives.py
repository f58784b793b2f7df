"""Archives that are damaged, or made to fill the memory."""

import contextlib
import gzip
import io
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
import scipy.io
from hypothesis import given

from isomax_jax.data.builders.svhn_cropped import read_digits
from isomax_jax.data.members import read_tar, read_zip
from tests.data import miniature
from tests.fuzz.strategies import damaged, fuzzed, read_or_refuse

FILES = {"set/a.bin": b"first" * 30, "set/b.bin": bytes(range(256)) * 4, "other/c.bin": b"third"}
NAMES = ("set/a.bin", "set/b.bin")
CHOSEN = {name: FILES[name] for name in NAMES}


def tarred(format=tarfile.PAX_FORMAT, members=FILES):
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
    for name, content in members.items():
      miniature.add(archive, name, content)
  return buffer.getvalue()


def read_all(path, **options):
  return read_tar(path, r"set/[^/]+", max_bytes=100_000, expected=NAMES, **options)


def zipped(compression=zipfile.ZIP_DEFLATED, members=FILES):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", compression) as archive:
    for name, content in members.items():
      archive.writestr(zipfile.ZipInfo(name), content, compression)
  return buffer.getvalue()


@fuzzed(150)
@given(damaged(gzip.compress(tarred(), mtime=0)))
def test_a_tar_is_what_was_packed_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.tar.gz"
  path.write_bytes(content)
  members = read_or_refuse(lambda: read_all(path), path, ValueError)
  assert members is None or members == CHOSEN


@fuzzed(150)
@given(damaged(tarred(members={**FILES, "set/" + 150 * "long": b"x"})))
def test_a_forged_tar_whose_checksum_is_right_is_read_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "forged.tar.gz"
  path.write_bytes(gzip.compress(content, compresslevel=1))
  members = read_or_refuse(lambda: read_all(path), path, ValueError)
  assert members is None or set(NAMES) <= set(members)


@fuzzed(150)
@given(damaged(zipped()))
def test_a_zip_is_what_was_packed_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.zip"
  path.write_bytes(content)
  read = lambda: list(read_zip(path, NAMES, max_bytes=10_000))  # noqa: E731
  members = read_or_refuse(read, path, ValueError)
  assert members is None or members == list(CHOSEN.values())


def header(kind, size, name="set/a.bin"):
  member = tarfile.TarInfo(name)
  member.type, member.size = kind, size
  return member.tobuf(tarfile.GNU_FORMAT)


@contextlib.contextmanager
def little_memory(most=4 * 2**20):
  tracemalloc.start()
  try:
    yield
    assert tracemalloc.get_traced_memory()[1] < most
  finally:
    tracemalloc.stop()


@pytest.mark.parametrize(
  "kind",
  [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE],
)
def test_a_member_or_record_that_would_fill_the_memory_is_not_unpacked(tmp_path, kind):
  """A few kilobytes that Python would unpack to a hundred megabytes, to have a name."""
  path = tmp_path / "bomb.tar.gz"
  with gzip.open(path, "wb", compresslevel=1) as file:
    file.write(header(kind, 100 * 2**20))
    for _ in range(100):
      file.write(b"\0" * 2**20)
  assert path.stat().st_size < 2**20
  message = rf"^{path} must have at most 100,000 bytes, unpacked$"
  with little_memory(), pytest.raises(ValueError, match=message):
    read_all(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_records_of_records_without_end_are_one_error(tmp_path, kind):
  path = tmp_path / "deep.tar.gz"
  path.write_bytes(gzip.compress(header(kind, 0) * 5000))
  read = lambda: read_tar(path, r"set/[^/]+", max_bytes=10**7, expected=NAMES)  # noqa: E731
  assert read_or_refuse(read, path, ValueError) is None


@pytest.mark.parametrize("size", [-512, -1, 8**11 - 1, 2**62])
def test_members_of_absurd_sizes_are_one_error(tmp_path, size):
  path = tmp_path / "absurd.tar.gz"
  path.write_bytes(gzip.compress(header(tarfile.REGTYPE, size) + tarred()))
  assert read_or_refuse(lambda: read_all(path), path, ValueError) is None


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_which_more_is_unpacked_than_asked_for_is_refused(tmp_path, compression):
  path = tmp_path / "bomb.zip"
  path.write_bytes(zipped(compression, {"a": b"\0" * 100}))
  with pytest.raises(ValueError, match=rf"^{path} is damaged .*another way than by deflate"):
    list(read_zip(path, ("a",), max_bytes=1000))


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path):
  path = tmp_path / "lies.zip"
  size = 100 * 2**20
  content = zipped(members={"a": b"\0" * size})
  path.write_bytes(content.replace(size.to_bytes(4, "little"), b"\x64\0\0\0"))
  with little_memory():
    read = lambda: list(read_zip(path, ("a",), max_bytes=1000))  # noqa: E731
    assert read_or_refuse(read, path, ValueError) is None


IMAGES, DIGITS = miniature.random_images(3), np.array([[1], [10], [3]], np.uint8)


def matlab(**options):
  buffer = io.BytesIO()
  scipy.io.savemat(buffer, {"X": np.stack(list(IMAGES), axis=-1), "y": DIGITS}, **options)
  return buffer.getvalue()


# Compressed, as the publisher's files are: of some damage to others, SciPy's reader reads memory
# that is not its own and takes the process with it.
@fuzzed(200)
@given(damaged(matlab(do_compression=True)))
def test_a_matlab_file_is_read_or_refused(tmp_path_factory, content):
  path = tmp_path_factory.getbasetemp() / "fuzzed.mat"
  path.write_bytes(content)
  found = read_or_refuse(lambda: read_digits(path), path, ValueError)
  if found is not None:
    images, digits = found
    assert images.shape == (len(digits), 32, 32, 3)
    assert max(digits, default=0) < 10


def test_a_matlab_array_of_arrays_is_not_read(tmp_path):
  nested = np.zeros((1, 1), object)
  nested[0, 0] = 0
  for _ in range(50):
    outer = np.empty((1, 1), object)
    outer[0, 0] = nested
    nested = outer
  path = tmp_path / "nested.mat"
  scipy.io.savemat(path, {"X": nested, "y": DIGITS})
  with pytest.raises(ValueError, match=f"^{path}: X must be uint8"):
    read_digits(path)
