"""Eight fake devices, no silent broadcasting of ranks, the same random examples in every run.

Warnings are errors (setup.cfg).
"""

import os
import tempfile

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile much and compute little.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Many tests compile the same programs: all processes of a run share what is compiled.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  _cache = tempfile.TemporaryDirectory(prefix="isomax_jax-tests-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

import hypothesis
import jax
import pytest

# Only who fuzzes more than CI does wants other examples each time; see tests/fuzz/strategies.py.
hypothesis.settings.register_profile(
  "isomax_jax", derandomize=float(os.environ.get("FUZZ", "0")) <= 1, deadline=None, database=None
)
hypothesis.settings.load_profile("isomax_jax")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Mark the one example that trains a network: a doctest has no marks of its own."""
  for item in items:
    if item.nodeid.endswith("::isomax_jax.runs"):
      item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory):
  """A directory of this run of the tests, the same for all its processes."""
  base = tmp_path_factory.getbasetemp()
  return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def digits_dir(shared_dir):
  """Where the embedded sets are prepared, once for all tests of whole jobs."""
  return shared_dir / "data"


@pytest.fixture(scope="session")
def trained_run(shared_dir, digits_dir):
  """A network trained on four digits for a few epochs, and evaluated; not to be changed."""
  from filelock import FileLock

  from isomax_jax.runs import evaluate, train
  from isomax_jax.training import DataConfig, OptimConfig, TrainConfig

  run_dir = shared_dir / "digits"
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0-3", validation=0.2),
    optim=OptimConfig(epochs=6, learning_rate=0.05),
  )
  with FileLock(shared_dir / "digits.lock"):
    if not (run_dir / "records.jsonl").exists():
      train(config, run_dir, data_dir=digits_dir)
      evaluate(run_dir, data_dir=digits_dir)
  return run_dir
