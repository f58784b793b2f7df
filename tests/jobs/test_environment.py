import jax

from isomax_jax.jobs import environment as module


def test_versions_and_device_are_those_of_this_process():
  surroundings = module.environment()
  assert surroundings["versions"]["jax"] == jax.__version__
  assert surroundings["device"].startswith("4 × ")
  assert surroundings["device"].endswith("(cpu)")


def test_no_commit_outside_a_checkout(tmp_path):
  assert module._git_commit(tmp_path) is None
