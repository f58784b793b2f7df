import gzip
import io
import os
import tarfile
import zipfile

import pytest

from isomax_jax.data.members import read_tar, read_zip
from tests.data import miniature

FILES = {"set/a.bin": b"first", "set/b.bin": os.urandom(5000), "other/c.bin": b"third"}


@pytest.fixture
def path(tmp_path):
  return tmp_path / "archive"


def read(path, pattern=r"set/[^/]+", max_bytes=100_000, expected=()):
  return read_tar(path, pattern, max_bytes=max_bytes, expected=expected)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_members_are_chosen_by_name(prefix, path):
  miniature.write_tar(path, {prefix + name: content for name, content in FILES.items()})
  chosen = {name: FILES[name] for name in ("set/a.bin", "set/b.bin")}
  assert read(path) == chosen
  assert read(path, expected=("set/a.bin", "set/b.bin")) == chosen


def test_nothing_is_written(path, tmp_path, monkeypatch):
  inside = tmp_path / "inside"
  inside.mkdir()
  monkeypatch.chdir(inside)
  names = ["../set/a.bin", "/set/a.bin", "set/../../a.bin", str(tmp_path / "a.bin"), "set/a.bin"]
  miniature.write_tar(path, dict.fromkeys(names, b"x"))
  assert read(path) == {"set/a.bin": b"x"}
  assert list(inside.iterdir()) == []
  assert set(tmp_path.iterdir()) == {inside, path}


@pytest.mark.parametrize(
  "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_are_refused(kind, path):
  with tarfile.open(path, "w:gz") as archive:
    member = tarfile.TarInfo("set/a.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    archive.addfile(member)
  message = rf"^{path}: set/a\.bin must be a plain file, not a link or a device$"
  with pytest.raises(ValueError, match=message):
    read(path)


def test_links_elsewhere_are_passed_over(path):
  with tarfile.open(path, "w:gz") as archive:
    member = tarfile.TarInfo("elsewhere")
    member.type, member.linkname = tarfile.SYMTYPE, "/"
    archive.addfile(member)
    miniature.add(archive, "set/a.bin", b"first")
  assert read(path) == {"set/a.bin": b"first"}


def test_twice_the_same_name(path):
  with tarfile.open(path, "w:gz") as archive:
    for content in (b"first", b"second"):
      miniature.add(archive, "set/a.bin", content)
  with pytest.raises(ValueError, match=rf"^{path}: set/a\.bin is there twice$"):
    read(path)


def test_the_size_of_all_members_together_is_bounded(path):
  miniature.write_tar(path, {f"elsewhere/{number}": b"\0" * 10_000 for number in range(8)})
  assert read(path, max_bytes=100_000) == {}
  with pytest.raises(ValueError, match=rf"^{path} must have at most 80,000 bytes, unpacked$"):
    read(path, max_bytes=80_000)


def test_missing_members(path):
  miniature.write_tar(path, FILES)
  with pytest.raises(ValueError, match=rf"^{path} must hold set/d: get the publisher's archive"):
    read(path, expected=("set/a.bin", "set/d"))
  with pytest.raises(ValueError, match=rf"^{path} must hold set/d and 1 more: get"):
    read(path, expected=("set/d", "set/e"))


def test_tar_cut_short_anywhere(path):
  miniature.write_tar(path, FILES)
  content = path.read_bytes()
  message = rf"^{path} (is damaged or cut short \(.+\): get it anew|must hold set/[ab]\.bin.*)$"
  for length in (*range(0, len(content), 97), len(content) - 8, len(content) - 1):
    path.write_bytes(content[:length])
    with pytest.raises(ValueError, match=message):
      read(path, expected=("set/a.bin", "set/b.bin"))


def test_flipped_bits_are_seen(path):
  miniature.write_tar(path, FILES)
  content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
  content[content.index(FILES["set/b.bin"][2000:2020])] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf"^{path} is damaged or cut short \(CRC check failed"):
    read(path)


# A gzip header holds the time, and every process must collect the same names.
@pytest.mark.parametrize("content", [b"", b"hello", gzip.compress(b"hello" * 1000, mtime=0)])
def test_no_tar_at_all(content, path):
  path.write_bytes(content)
  message = rf"^{path} (is damaged or cut short \(.+\): get it anew|must hold set/a\.bin: .*)$"
  with pytest.raises(ValueError, match=message):
    read(path, expected=("set/a.bin",))


@pytest.fixture
def zipped(path):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in FILES.items():
      archive.writestr(name, content)
  return path


def test_zip(zipped):
  names = ("other/c.bin", "set/b.bin")
  assert list(read_zip(zipped, names, max_bytes=10_000)) == [FILES[name] for name in names]


def test_zip_without_a_member(zipped):
  with pytest.raises(ValueError, match=rf"^{zipped} must hold set/d: get the publisher's archive"):
    list(read_zip(zipped, ("set/a.bin", "set/d"), max_bytes=10_000))


def test_zip_of_a_large_member(zipped):
  with pytest.raises(
    ValueError, match=rf"^{zipped}: set/b\.bin must have at most 10 bytes, got 5,"
  ):
    list(read_zip(zipped, ("set/a.bin", "set/b.bin"), max_bytes=10))


def test_zip_whose_directory_is_overwritten_by_zeros(zipped):
  """Its member is stored, has no bytes and the checksum of no bytes: nothing that zipfile minds."""
  content = bytearray(zipped.read_bytes())
  directory = content.index(b"PK\x01\x02")
  content[directory + 4 : directory + 28] = bytes(24)
  zipped.write_bytes(content)
  with zipfile.ZipFile(zipped) as archive:
    assert archive.read("set/a.bin") == b""
  with pytest.raises(ValueError, match=rf"^{zipped}: set/a\.bin must not be empty: "):
    list(read_zip(zipped, ("set/a.bin",), max_bytes=10_000))


def test_damaged_zip(zipped):
  content = bytearray(zipped.read_bytes())
  content[content.index(FILES["set/b.bin"][2000:2020])] ^= 1
  zipped.write_bytes(content)
  with pytest.raises(ValueError, match=rf"^{zipped} is damaged or cut short \(Bad CRC-32"):
    list(read_zip(zipped, tuple(FILES), max_bytes=10_000))
  zipped.write_bytes(content[:3000])
  with pytest.raises(ValueError, match=rf"^{zipped} is damaged or cut short \(File is not a zip"):
    list(read_zip(zipped, tuple(FILES), max_bytes=10_000))


def test_encrypted_zip(zipped):
  content = bytearray(zipped.read_bytes())
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    offset = archive.getinfo("set/a.bin").header_offset
  directory = content.index(b"PK\x01\x02")
  content[offset + 6] |= 1
  content[directory + 8] |= 1
  zipped.write_bytes(content)
  with pytest.raises(
    ValueError, match=rf"^{zipped} is damaged or cut short \(File .*set/a\.bin.* is encrypted"
  ):
    list(read_zip(zipped, tuple(FILES), max_bytes=10_000))
