"""The packaged sets, prepared once for all tests that only read them."""

import pytest

from isomax_jax.data import SPECS, prepare


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tensorflow_datasets")
  for name in SPECS:
    prepare(name, data_dir=folder)
  return folder
