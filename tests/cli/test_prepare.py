import dataclasses

import pytest

from isomax_jax.cli.main import main
from isomax_jax.data import SPECS, load
from tests.data import miniature


@pytest.fixture
def prepare(capsys, monkeypatch, tmp_path):
  """Run ``isomax-jax prepare``; return exit code, output and errors."""
  monkeypatch.setenv("COLUMNS", "250")
  for name, splits in {
    "cifar10": {"train": 50, "test": 10},
    "tiny_imagenet_resize/nearest": {"test": 12},
    "tiny_imagenet_resize/antialiased": {"test": 12},
  }.items():
    monkeypatch.setitem(SPECS._entries, name, dataclasses.replace(SPECS[name], splits=splits))

  def run(*arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
      main(["prepare", *map(str, arguments), "--data-dir", str(tmp_path / "sets")])
    output, errors = capsys.readouterr()
    return stop.value.code, output, errors

  return run


def test_sets_from_a_folder_of_archives(prepare, tmp_path):
  miniature.cifar10(tmp_path)
  miniature.tiny_imagenet(tmp_path)
  names = ("cifar10", "tiny_imagenet_resize", "photos")
  code, output, errors = prepare(*names, "--manual-dir", tmp_path)
  assert code == 0
  assert output.splitlines() == [
    f"cifar10: {tmp_path}/sets/cifar10/3.0.2",
    f"tiny_imagenet_resize/nearest: {tmp_path}/sets/tiny_imagenet_resize/nearest/1.0.0",
    f"tiny_imagenet_resize/antialiased: {tmp_path}/sets/tiny_imagenet_resize/antialiased/1.0.0",
    f"photos: {tmp_path}/sets/photos/1.0.0",
  ]
  assert errors.count("100% read back") == 4
  note = f"note: {tmp_path}/cifar-10-binary.tar.gz is not the publisher's own file"
  assert note in errors
  assert len(load("cifar10", "train", data_dir=tmp_path / "sets").labels) == 50
  assert prepare("cifar10", "--manual-dir", tmp_path)[1:] == (
    f"cifar10: {tmp_path}/sets/cifar10/3.0.2\n",
    "",
  )


def test_own_folder_of_images(prepare, tmp_path):
  miniature.image_tree(tmp_path / "insects")
  name = "image_folder/insects-8x8x3"
  code, output, _ = prepare(name, "--manual-dir", tmp_path)
  assert (code, output) == (0, f"{name}: {tmp_path}/sets/{name}/1.0.0\n")


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "names must name a set or more, got none; isomax-jax data list shows all"),
    (("digits",), "unknown data set 'digits'; known: cifar10, "),
    (
      ("cifar10", "--manual-dir", "{}"),
      "cifar10 needs cifar-10-binary.tar.gz, which is not in {};",
    ),
    (("image_folder/x-8x8x3", "--manual-dir", "{}"), "{}/x is not a folder: it must hold SPLIT/"),
  ],
)
def test_failures_are_one_line(arguments, message, prepare, tmp_path):
  code, output, errors = prepare(*(argument.format(tmp_path) for argument in arguments))
  assert (code, output) == (1, "")
  assert errors.startswith(f"isomax-jax: {message.format(tmp_path)}")
  assert errors.count("\n") == 1


def test_damaged_archive_is_one_line(prepare, tmp_path):
  miniature.cifar10(tmp_path)
  path = tmp_path / "cifar-10-binary.tar.gz"
  path.write_bytes(path.read_bytes()[:50_000])
  code, _, errors = prepare("cifar10", "--manual-dir", tmp_path)
  assert code == 1
  assert f"isomax-jax: {path} is damaged or cut short (" in errors.splitlines()[-1]
