"""Files that sets are made from: found in a folder, or downloaded and verified by checksum."""

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from isomax_jax.data.description import Archive, DataSpec
from isomax_jax.data.progress import Progress, Report

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60


def find_archives(spec: DataSpec, manual_dir: Path, *, report: Report) -> dict[str, Path]:
  """Return the paths of a set's archives in a folder, by name.

  A file that is not byte for byte the publisher's is reported, not refused: its content is
  verified when it is read.

  Raises:
    FileNotFoundError: If an archive is missing.
  """
  found = {}
  for archive in spec.archives:
    names = (archive.name, *archive.other_names)
    paths = [manual_dir / name for name in names if (manual_dir / name).exists()]
    if not paths:
      origin = f"; it comes from {archive.url}" if archive.url else ""
      raise FileNotFoundError(
        f"{spec.name} needs {' or '.join(names)}, which is not in {manual_dir}{origin}"
      )
    found[archive.name] = paths[0]
    if archive.checksum and _digest(paths[0], archive.checksum) != archive.checksum:
      remark = f"{paths[0]} is not the publisher's own file: its content is verified instead"
      report(Progress(spec.name, "note", text=remark))
  return found


def download_archives(spec: DataSpec, folder: Path, *, report: Report) -> dict[str, Path]:
  """Download the archives of a set that are not in a folder yet; return all paths by name.

  A file gets its name when it is whole and its checksum is right, so an interrupted download
  leaves nothing that looks complete.

  Raises:
    ConnectionError: If a file cannot be downloaded.
    ValueError: If a file is not what the publisher distributes, or only the user has it.
  """
  published = []
  for archive in spec.archives:
    if archive.url is None or archive.checksum is None:
      raise ValueError(f"{spec.name} is made from {archive.name}, to be given by manual_dir")
    published.append((archive, archive.url, archive.checksum))
  return {
    archive.name: _download(spec.name, archive, url, checksum, folder, report)
    for archive, url, checksum in published
  }


def _download(
  name: str, archive: Archive, url: str, checksum: str, folder: Path, report: Report
) -> Path:
  path = folder / archive.name
  if path.exists() and _digest(path, checksum) == checksum:
    return path
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix="incomplete.", dir=folder) as staging:
    partial = Path(staging, archive.name)
    with partial.open("wb") as file:
      for done, total, block in _blocks(archive, url):
        file.write(block)
        report(Progress(name, "download", done, total, archive.name))
    digest = _digest(partial, checksum)
    if digest != checksum:
      raise ValueError(
        f"{url} gave {partial.stat().st_size:,} bytes with {digest}, expected {checksum}: "
        f"cut short or altered; retry, or get {archive.name} in another way "
        "and give its folder as manual_dir"
      )
    os.replace(partial, path)
  return path


def _blocks(archive: Archive, url: str) -> Iterator[tuple[int, int, bytes]]:
  """Yield the bytes done, all bytes and the next block of a download."""
  request = urllib.request.Request(url, headers={"User-Agent": "isomax-jax"})
  try:
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
      length = response.headers.get("Content-Length") or ""
      total = int(length) if length.isdecimal() else archive.size
      done = 0
      while block := response.read(_BLOCK):
        done += len(block)
        if archive.size and done > archive.size:
          raise ValueError(f"{url} gives more than the {archive.size:,} bytes expected")
        yield done, total, block
  except (OSError, http.client.HTTPException) as error:
    reason = getattr(error, "reason", error)
    if isinstance(error, urllib.error.HTTPError):
      error.close()
      reason = error
    raise ConnectionError(
      f"{url} cannot be downloaded ({reason}): retry, or get {archive.name} in another way "
      "and give its folder as manual_dir"
    ) from error


def _digest(path: Path, checksum: str) -> str:
  """Return a file's checksum of the same kind as its publisher's."""
  kind = checksum.partition(":")[0]
  with path.open("rb") as file:
    return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"
