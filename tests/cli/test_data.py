import pytest

from isomax_jax.cli.main import main
from isomax_jax.data import SPECS, prepare
from tests.data import miniature


@pytest.fixture
def listed(capsys, monkeypatch, tmp_path):
  """Run ``isomax-jax data list`` on a folder of sets; return the cells of each row by set."""
  monkeypatch.setenv("COLUMNS", "250")

  def run():
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
      main(["data", "list", "--data-dir", str(tmp_path)])
    assert stop.value.code == 0
    rows = [
      [cell.strip() for cell in line.split("│")[1:-1]]
      for line in capsys.readouterr().out.splitlines()
      if "│" in line
    ]
    return {row[0]: row[1:] for row in rows if row[0]}

  return run


def test_every_set_with_how_to_get_it(listed, tmp_path):
  prepare("photos", data_dir=tmp_path)
  rows = listed()
  assert set(SPECS) < set(rows)
  assert rows["photos"] == [
    "out", "test 660", "28x28x1", "yes", "nothing to fetch: prepared when it is needed"
  ]  # fmt: skip
  assert rows["letters"][3] == "no"
  assert rows["cifar10"] == [
    "in, out", "train 50,000, test 10,000", "32x32x3", "no", "isomax-jax prepare cifar10 (170 MB)"
  ]  # fmt: skip


def test_own_folders_of_images(listed, tmp_path):
  miniature.image_tree(tmp_path / "insects")
  name = "image_folder/insects-8x8x3"
  assert name not in listed()
  prepare(name, data_dir=tmp_path, manual_dir=tmp_path)
  assert listed()[name][:4] == ["in, out", "train 6, test 6", "8x8x3", "yes"]


def test_something_else_than_list_is_wrong_usage():
  with pytest.raises(SystemExit) as stop:
    main(["data", "show"])
  assert stop.value.code == 2
