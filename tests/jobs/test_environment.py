import os
import subprocess
import sys

import jax
import pytest

from isomax_jax.jobs import environment as module


def test_versions_and_device_are_those_of_this_process():
  surroundings = module.environment()
  assert surroundings["versions"]["jax"] == jax.__version__
  assert surroundings["device"].startswith("8 × ")
  assert surroundings["device"].endswith("(cpu)")


def test_no_commit_outside_a_checkout(tmp_path):
  assert module._git_commit(tmp_path) is None


def test_programs_are_kept_for_the_next_process(tmp_path):
  program = (
    "import jax; from isomax_jax.jobs.environment import keep_compiled_programs as keep\n"
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
