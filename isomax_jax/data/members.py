"""Reading of archive members by name, without writing anything to disk.

Names inside an archive only select what is read, so a path that leads out of the folder, a link
or a device does nothing; sizes are bounded before anything is read.
"""

import contextlib
import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from isomax_jax._files import one_line, read_member

_BLOCK = 1 << 20


class _Refused(ValueError):  # noqa: N818 (it says what an archive is)
  """An archive that is readable but not as expected."""


class _Bounded(io.RawIOBase):
  """A stream that refuses to give more than so many bytes in all."""

  def __init__(self, stream: gzip.GzipFile, path: Path, max_bytes: int):
    super().__init__()
    self._stream, self._path, self._max_bytes = stream, path, max_bytes
    self._given = 0

  def read(self, size: int = -1, /) -> bytes:
    left = self._max_bytes - self._given + 1
    block = self._stream.read(left if size < 0 else min(size, left))
    self._given += len(block)
    if self._given > self._max_bytes:
      raise _Refused(f"{self._path} must have at most {self._max_bytes:,} bytes, unpacked")
    return block


def read_tar(
  path: Path, pattern: str, *, max_bytes: int, expected: tuple[str, ...] = ()
) -> dict[str, bytes]:
  """Read members of a gzipped tar archive.

  Args:
    path: The archive.
    pattern: Regular expression of the names of the members to read, without a leading ``./``.
    max_bytes: Size limit of the whole archive, unpacked: members that are not read and its own
      records, which Python reads into memory, count too.
    expected: Names of members that must be there.

  Returns:
    The content of each member, by name, in the archive's order.

  Raises:
    ValueError: If the archive is damaged, cut short or too large, or a member is missing, there
      twice or no plain file; the message names the archive and the member.
  """
  contents: dict[str, bytes] = {}
  with _damage_named(path), gzip.open(path) as unpacked:
    stream = _Bounded(unpacked, path, max_bytes)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
      for member in archive:
        name = member.name.removeprefix("./")
        if member.isdir() or not re.fullmatch(pattern, name):
          continue
        content = archive.extractfile(member) if member.isreg() else None
        if content is None:
          raise _Refused(f"{path}: {name} must be a plain file, not a link or a device")
        if name in contents:
          raise _Refused(f"{path}: {name} is there twice")
        contents[name] = content.read()
    # The checksum at the very end is verified only by reading that far.
    while stream.read(_BLOCK):
      pass
  _check_present(path, expected, contents)
  return contents


def read_zip(path: Path, expected: tuple[str, ...], *, max_bytes: int) -> Iterator[bytes]:
  """Yield the content of members of a zip archive, in the order of their names in ``expected``.

  Args:
    path: The archive.
    expected: Names of the members.
    max_bytes: Size limit of a member.

  Raises:
    ValueError: If the archive is damaged or cut short, or a member is missing, empty or too
      large; the message names the archive and the member.
  """
  with _damage_named(path), zipfile.ZipFile(path) as archive:
    _check_present(path, expected, set(archive.namelist()))
    for name in expected:
      member = archive.getinfo(name)
      # The checksum of nothing is 0: a directory that zeros have overwritten passes as right.
      if not member.file_size:
        raise _Refused(f"{path}: {name} must not be empty: get the publisher's archive anew")
      if member.file_size > max_bytes:
        raise _Refused(
          f"{path}: {name} must have at most {max_bytes:,} bytes, got {member.file_size:,}"
        )
      yield read_member(archive, member)


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
  try:
    yield
  except (_Refused, FileNotFoundError, IsADirectoryError, PermissionError):
    raise
  except Exception as error:  # Whatever damaged bytes make the readers raise.
    raise ValueError(f"{path} is damaged or cut short ({one_line(error)}): get it anew") from error


def _check_present(path, expected, present) -> None:
  missing = [name for name in expected if name not in present]
  if missing:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise _Refused(f"{path} must hold {missing[0]}{more}: get the publisher's archive anew")
