import re
from pathlib import Path

from isomax_jax.data import SPECS
from isomax_jax.data.folders import PATTERN

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def test_page_names_every_set_and_no_other():
  table = PAGE[: PAGE.index("## Get a set")]
  families = {name.partition("/")[0] for name in (*SPECS, PATTERN)}
  named = {name for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
           for name in re.findall(r"`(\w+)", cell)}  # fmt: skip
  assert named == families


def test_page_states_the_numbers():
  for name in ("mnist_5k", "cifar10", "cifar100", "svhn_cropped"):
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line)
    train, test = SPECS[name].splits.values()
    assert f"{train:,} + {test:,}" in row
