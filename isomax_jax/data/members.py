"""Read members of archives by name, without writing anything to disk.

Names inside an archive only select what is read, so a name that leads out of a folder, a link or
a device does nothing; sizes are bounded before anything is read.
"""

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 20

_DAMAGED = (
  EOFError, NotImplementedError, RuntimeError, gzip.BadGzipFile, tarfile.TarError,
  zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_tar(
  path: Path, pattern: str, *, max_bytes: int, expected: tuple[str, ...] = ()
) -> dict[str, bytes]:
  """Read members of a gzipped tar archive.

  Args:
    path: The archive.
    pattern: Regular expression of the names of the members to read, without a leading ``./``.
    max_bytes: What one member may have.
    expected: Names of members that must be there.

  Returns:
    The content of each member, by name, in the archive's order.

  Raises:
    ValueError: If the archive is damaged or cut short, a member is missing, there twice, larger
      than it may be, or no plain file; the message names the archive and the member.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   with tarfile.open(Path(folder, "a.tar.gz"), "w:gz") as archive:
    ...     archive.addfile(tarfile.TarInfo("set/empty.bin"))
    ...   read_tar(Path(folder, "a.tar.gz"), r"set/[^/]+", max_bytes=10)
    {'set/empty.bin': b''}
  """
  contents: dict[str, bytes] = {}
  try:
    with gzip.open(path) as stream:
      with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
          name = member.name.removeprefix("./")
          if member.isdir() or not re.fullmatch(pattern, name):
            continue
          if not member.isreg():
            raise ValueError(f"{path}: {name} must be a plain file, not a link or a device")
          if name in contents:
            raise ValueError(f"{path}: {name} is there twice")
          _check_size(path, name, member.size, max_bytes)
          contents[name] = archive.extractfile(member).read()
      # The checksum at the very end is looked at by whoever reads that far.
      while stream.read(_BLOCK):
        pass
  except _DAMAGED as error:
    raise _damaged(path, error) from error
  _check_present(path, expected, contents)
  return contents


def read_zip(path: Path, expected: tuple[str, ...], *, max_bytes: int) -> Iterator[bytes]:
  """Yield the content of members of a zip archive.

  Args:
    path: The archive.
    expected: Names of the members.
    max_bytes: What one member may have.

  Yields:
    The content of each member, in the order of the names.

  Raises:
    ValueError: If the archive is damaged or cut short, or a member is missing or larger than it
      may be; the message names the archive and the member.

  Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   with zipfile.ZipFile(Path(folder, "a.zip"), "w") as archive:
    ...     archive.writestr("set/a.bin", b"content")
    ...   list(read_zip(Path(folder, "a.zip"), ("set/a.bin",), max_bytes=10))
    [b'content']
  """
  try:
    with zipfile.ZipFile(path) as archive:
      _check_present(path, expected, set(archive.namelist()))
      for name in expected:
        _check_size(path, name, archive.getinfo(name).file_size, max_bytes)
        yield archive.read(name)
  except _DAMAGED as error:
    raise _damaged(path, error) from error


def _check_present(path, expected, present) -> None:
  missing = [name for name in expected if name not in present]
  if missing:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise ValueError(f"{path} must hold {missing[0]}{more}: get the publisher's archive anew")


def _check_size(path: Path, name: str, size: int, max_bytes: int) -> None:
  if size > max_bytes:
    raise ValueError(f"{path}: {name} must have at most {max_bytes:,} bytes, got {size:,}")


def _damaged(path: Path, error: Exception) -> ValueError:
  reason = str(error).partition("\n")[0] or type(error).__name__
  return ValueError(f"{path} is damaged or cut short ({reason}): get it anew")
