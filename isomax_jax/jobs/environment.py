"""What a result was computed with."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from isomax_jax._version import __version__

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def environment() -> dict[str, Any]:
  """Return versions, device and, in a checkout of this project, its git commit."""
  device = jax.local_devices()[0]
  kind = platform.processor() or platform.machine() if device.platform == "cpu" else ""
  return {
    "versions": {
      "isomax_jax": __version__,
      "python": platform.python_version(),
      **{library: importlib.metadata.version(library) for library in _LIBRARIES},
    },
    "device": f"{jax.device_count()} × {kind or device.device_kind} ({device.platform})",
    "git_commit": _git_commit(Path(__file__).parents[2]),
  }


def _git_commit(folder: Path) -> str | None:
  if not (folder / ".git").exists():
    return None  # Installed, maybe below somebody else's repository.
  try:
    answer = subprocess.run(
      ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return answer.stdout.strip()
