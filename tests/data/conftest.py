"""The packaged sets, prepared once for all tests that only read them; and smaller sets."""

import dataclasses
import sys

import pytest

from isomax_jax.data import SPECS, prepare

PACKAGED = ("mnist_5k", "letters", "photos")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("tensorflow_datasets")
  for name in PACKAGED:
    prepare(name, data_dir=folder)
  return folder


@pytest.fixture
def shrink(monkeypatch):
  """Give a set's description other numbers of images, those of a miniature archive."""

  def set_splits(name, **splits):
    monkeypatch.setitem(SPECS._entries, name, dataclasses.replace(SPECS[name], splits=splits))

  return set_splits


@pytest.fixture
def hide(monkeypatch):
  """Make it as if packages were not installed."""

  def hide(*packages):
    for package in packages:
      monkeypatch.setitem(sys.modules, package, None)

  return hide
