"""Cases of a test that are left to ``make test-all``."""

import pytest


def slow(*values):
  """Return a case of a parametrized test that is marked slow."""
  return pytest.param(*values, marks=pytest.mark.slow)
