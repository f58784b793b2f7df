import sys

import pytest

from isomax_jax.data._packages import package_folder


def test_folder_is_found_without_importing_the_package():
  imported = "mlxtend" in sys.modules
  folder = package_folder("mlxtend", extra="quickstart")
  assert (folder / "__init__.py").is_file()
  assert folder.name == "mlxtend"
  assert ("mlxtend" in sys.modules) == imported


def test_missing_package_says_what_to_install():
  message = r"^the package no_such_package is missing; pip install 'isomax_jax\[plots\]' installs"
  with pytest.raises(ModuleNotFoundError, match=message) as caught:
    package_folder("no_such_package", extra="plots")
  assert caught.value.name == "no_such_package"
