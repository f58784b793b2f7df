"""Versions, device and commit of a result, and the cache of compiled programs."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax

from isomax_jax._version import __version__

COMMIT = "ISOMAX_GIT_COMMIT"
"""Environment variable that names the code's commit where it is no checkout."""
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
# Beyond it, the programs that were not used for longest are deleted.
_CACHE_BYTES = 2**31


def environment() -> dict[str, Any]:
  """Return versions, device and the code's git commit.

  The commit is that of the checkout that the code lies in; outside of one, what
  ``$ISOMAX_GIT_COMMIT`` says, or None. ValueError is raised if that is no commit.
  """
  device = jax.local_devices()[0]
  kind = platform.processor() or platform.machine() if device.platform == "cpu" else ""
  commit = _checked_out(Path(__file__).parents[2])
  if commit is None:
    commit = os.environ.get(COMMIT)
    if commit is not None and not re.fullmatch("[0-9a-fA-F]{7,40}", commit):
      raise ValueError(f"{COMMIT} must be a commit of 7 to 40 hexadecimal digits, got {commit!r}")
  return {
    "versions": {
      "isomax_jax": __version__,
      "python": platform.python_version(),
      **{library: importlib.metadata.version(library) for library in _LIBRARIES},
    },
    "device": f"{jax.device_count()} × {kind or device.device_kind} ({device.platform})",
    "git_commit": commit,
  }


def keep_compiled_programs(folder: Path | None = None) -> None:
  """Keep compiled programs on disk, for the next start of this and of other processes.

  Without a folder, where JAX was told to, else in ``~/.cache/isomax_jax`` if it can be made.

  Raises:
    OSError: If a folder that was named cannot be made.
  """
  if folder is None:
    # JAX before 0.12 does not declare its options.
    if jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
      return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isomax_jax"
    with contextlib.suppress(OSError):
      folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
      return
  folder.mkdir(parents=True, exist_ok=True)
  for option, value in {
    "jax_compilation_cache_dir": str(folder.absolute()),
    "jax_compilation_cache_max_size": _CACHE_BYTES,
  }.items():
    jax.config.update(option, value)
    os.environ[option.upper()] = str(value)  # For the processes that this one starts.


def _checked_out(folder: Path) -> str | None:
  if not (folder / ".git").exists():
    return None  # Installed, maybe below somebody else's repository.
  git = ["git", "-C", str(folder), "rev-parse", "HEAD"]
  try:
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None
