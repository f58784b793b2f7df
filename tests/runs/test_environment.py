import os
import subprocess
import sys

import jax
import pytest

from isomax_jax.data import get_spec
from isomax_jax.runs import environment as module
from isomax_jax.runs.directory import open_directory
from isomax_jax.training import TrainConfig


def test_versions_and_device_are_those_of_this_process():
  surroundings = module.environment()
  assert surroundings["versions"]["jax"] == jax.__version__
  assert surroundings["device"].startswith("8 × ")
  assert surroundings["device"].endswith("(cpu)")


def commit_in(folder, monkeypatch):
  """Return the commit of code that lies in a folder."""
  monkeypatch.setattr(module, "__file__", str(folder / "isomax_jax" / "runs" / "environment.py"))
  return module.environment()["git_commit"]


def test_no_commit_outside_a_checkout(tmp_path, monkeypatch):
  monkeypatch.delenv("ISOMAX_GIT_COMMIT", raising=False)
  assert commit_in(tmp_path, monkeypatch) is None


@pytest.mark.parametrize("commit", ["0123abc", "0123456789ABCDEFabcd" * 2])
def test_a_variable_names_the_commit_outside_a_checkout(tmp_path, monkeypatch, commit):
  monkeypatch.setenv("ISOMAX_GIT_COMMIT", commit)
  assert commit_in(tmp_path, monkeypatch) == commit


def test_a_checkout_knows_better(tmp_path, monkeypatch):
  git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
  subprocess.run([*git, "init", "-q"], check=True)
  subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
  answer = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
  monkeypatch.setenv("ISOMAX_GIT_COMMIT", "main")
  assert commit_in(tmp_path, monkeypatch) == answer.stdout.strip() != ""


@pytest.mark.parametrize("commit", ["", "main", "012345", "0" * 41, "0123abg", "0123abc\n"])
def test_what_is_no_commit_is_refused(tmp_path, monkeypatch, commit):
  monkeypatch.setenv("ISOMAX_GIT_COMMIT", commit)
  with pytest.raises(ValueError, match=r"^ISOMAX_GIT_COMMIT must be a commit of 7 to 40 hex") as c:
    commit_in(tmp_path, monkeypatch)
  assert str(c.value).endswith(f", got {commit!r}")


def test_a_run_is_refused_before_anything_is_written(tmp_path, monkeypatch):
  monkeypatch.setattr(module, "_checked_out", lambda folder: None)
  monkeypatch.setenv("ISOMAX_GIT_COMMIT", "main")
  with (
    pytest.raises(ValueError, match=r"^ISOMAX_GIT_COMMIT must be a commit"),
    open_directory(tmp_path / "run", TrainConfig(), get_spec("mnist_5k"), fresh=False),
  ):
    pass
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_programs_are_kept_for_the_next_process(tmp_path):
  program = (
    "import jax; from isomax_jax.runs.environment import keep_compiled_programs as keep\n"
    "keep(); jax.jit(lambda x: x + 1)(1.0)"
  )
  environment = {name: v for name, v in os.environ.items() if "COMPILATION_CACHE" not in name}
  environment |= {
    "XDG_CACHE_HOME": str(tmp_path),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  kept = []
  for _ in range(2):
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    kept.append({path.name for path in tmp_path.glob("isomax_jax/*-cache")})
  assert kept[0] == kept[1] != set()


def test_where_nothing_can_be_kept_only_a_folder_that_was_named_is_an_error(tmp_path, monkeypatch):
  (tmp_path / "file").touch()
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  of_the_tests = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", None)
  try:
    module.keep_compiled_programs()
    assert jax.config.jax_compilation_cache_dir is None
    with pytest.raises(OSError, match="file"):
      module.keep_compiled_programs(tmp_path / "file" / "programs")
  finally:
    jax.config.update("jax_compilation_cache_dir", of_the_tests)
