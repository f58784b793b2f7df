import contextlib
import dataclasses
import hashlib
import http.server
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from isomax_jax.data import Archive, get_spec
from isomax_jax.data.archives import download_archives, find_archives

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves the content whole, cut short, altered, or not at all."""

  def do_GET(self):
    self.server.requests.append(self.path)
    if self.path == "/gone":
      self.send_error(404)
      return
    self.send_response(200)
    self.send_header("Content-Length", str(len(CONTENT)))
    self.end_headers()
    with contextlib.suppress(ConnectionError):
      if self.path == "/cut":
        self.wfile.write(CONTENT[:2_000_000])
      elif self.path == "/altered":
        self.wfile.write(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
      elif self.path == "/slow":
        self.wfile.write(CONTENT[:2_000_000])
        self.wfile.flush()
        time.sleep(30)
      else:
        self.wfile.write(CONTENT)

  def log_message(self, *arguments):
    """Say nothing."""


@pytest.fixture
def server():
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    server.requests = []
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()


def spec_of(*archives):
  return dataclasses.replace(get_spec("photos"), name="set", archives=archives)


def test_a_download_without_end_is_stopped(server, tmp_path):
  spec = spec_of(Archive("a.tar.gz", f"{server.url}/whole", SHA256, len(CONTENT) - 1))
  with pytest.raises(ValueError, match=f"{server.url}/whole gives more than the .* bytes expected"):
    download_archives(spec, tmp_path / "downloads", report=lambda _: None)
  assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize("checksum", [SHA256, MD5], ids=["sha256", "md5"])
def test_download_is_verified_kept_and_not_repeated(checksum, server, tmp_path):
  spec = spec_of(Archive("a.tar.gz", f"{server.url}/whole", checksum))
  seen = []
  found = download_archives(spec, tmp_path / "downloads", report=seen.append)
  assert found == {"a.tar.gz": tmp_path / "downloads" / "a.tar.gz"}
  assert found["a.tar.gz"].read_bytes() == CONTENT
  assert {(each.name, each.stage, each.text) for each in seen} == {("set", "download", "a.tar.gz")}
  assert [each.done for each in seen] == sorted({each.done for each in seen})
  assert (seen[-1].done, seen[-1].total) == (len(CONTENT),) * 2
  assert download_archives(spec, tmp_path / "downloads", report=seen.append) == found
  assert server.requests == ["/whole"]


def test_spoilt_download_is_replaced(server, tmp_path):
  (tmp_path / "a.tar.gz").write_bytes(CONTENT[:100])
  spec = spec_of(Archive("a.tar.gz", f"{server.url}/whole", SHA256))
  download_archives(spec, tmp_path, report=lambda progress: None)
  assert (tmp_path / "a.tar.gz").read_bytes() == CONTENT


def test_altered_download(server, tmp_path):
  url = f"{server.url}/altered"
  altered = hashlib.sha256(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])).hexdigest()
  message = (
    f"^{url} gave 3,000,000 bytes with sha256:{altered}, expected {SHA256}: cut short or altered; "
    "retry, or get a.tar.gz in another way and give its folder as manual_dir$"
  )
  with pytest.raises(ValueError, match=message):
    download_archives(spec_of(Archive("a.tar.gz", url, SHA256)), tmp_path, report=lambda p: None)
  assert list(tmp_path.iterdir()) == []


def test_download_cut_short(server, tmp_path):
  url = f"{server.url}/cut"
  message = rf"^{url} (gave 2,000,000 bytes with |cannot be downloaded \(IncompleteRead)"
  with pytest.raises((ConnectionError, ValueError), match=message):
    download_archives(spec_of(Archive("a.tar.gz", url, SHA256)), tmp_path, report=lambda p: None)
  assert list(tmp_path.iterdir()) == []


def test_no_such_page(server, tmp_path):
  url = f"{server.url}/gone"
  message = (
    rf"^{url} cannot be downloaded \(HTTP Error 404: Not Found\): retry, or get a.tar.gz in "
    "another way and give its folder as manual_dir$"
  )
  with pytest.raises(ConnectionError, match=message):
    download_archives(spec_of(Archive("a.tar.gz", url, SHA256)), tmp_path, report=lambda p: None)


def test_no_network(tmp_path):
  with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
    message = rf"^{url} cannot be downloaded \(.*Connection refused\): retry, or get a.tar.gz in"
    with pytest.raises(ConnectionError, match=message):
      download_archives(spec_of(Archive("a.tar.gz", url, SHA256)), tmp_path, report=lambda p: None)


def test_what_has_no_checksum_is_not_downloaded(tmp_path):
  for archive in (Archive("a.zip", "http://127.0.0.1/a.zip"), Archive("a.zip", None, SHA256)):
    with pytest.raises(ValueError, match=r"^set is made from a\.zip, to be given by manual_dir$"):
      download_archives(spec_of(archive), tmp_path, report=lambda progress: None)


DOWNLOAD = """
import dataclasses, sys
from pathlib import Path
from isomax_jax.data import Archive, get_spec
from isomax_jax.data.archives import download_archives
archive = Archive("a.zip", sys.argv[1], sys.argv[2])
spec = dataclasses.replace(get_spec("photos"), archives=(archive,))
download_archives(spec, Path(sys.argv[3]), report=lambda progress: print(progress.done, flush=True))
"""


@pytest.mark.slow
def test_killed_download_leaves_nothing_that_looks_complete(server, tmp_path):
  command = [sys.executable, "-c", DOWNLOAD, f"{server.url}/slow", SHA256, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
    assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
  assert process.returncode == -signal.SIGKILL
  assert not (tmp_path / "a.zip").exists()


def test_files_are_found_under_any_of_their_names(tmp_path):
  (tmp_path / "b.zip").write_bytes(CONTENT)
  spec = spec_of(Archive("a.zip", "http://x", SHA256, other_names=("b.zip",)))
  seen = []
  assert find_archives(spec, tmp_path, report=seen.append) == {"a.zip": tmp_path / "b.zip"}
  assert seen == []


def test_another_checksum_is_a_note(tmp_path):
  (tmp_path / "a.zip").write_bytes(b"rebuilt")
  seen = []
  found = find_archives(spec_of(Archive("a.zip", "http://x", SHA256)), tmp_path, report=seen.append)
  assert found == {"a.zip": tmp_path / "a.zip"}
  assert [each.stage for each in seen] == ["note"]
  assert seen[0].text == (
    f"{tmp_path / 'a.zip'} is not the publisher's own file: its content is verified instead"
  )


@pytest.mark.parametrize(
  ("archive", "message"),
  [
    (Archive("a.zip", "http://x/a.zip"), "a.zip, which is not in {}; it comes from http://x/a.zip"),
    (Archive("a.zip", other_names=("b.zip",)), "a.zip or b.zip, which is not in {}"),
  ],
)
def test_missing_file(archive, message, tmp_path):
  with pytest.raises(FileNotFoundError, match=f"^set needs {message.format(tmp_path)}$"):
    find_archives(spec_of(archive), tmp_path, report=lambda progress: None)
