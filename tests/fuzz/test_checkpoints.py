"""Checkpoints that are damaged, and checkpoints that somebody made up, manifest and all."""

import contextlib
import json
import os
import shutil
import socket

import chex
import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isomax_jax._files import naming
from isomax_jax.training import OptimConfig, create_state
from isomax_jax.training.checkpoints import (
  MANIFEST,
  Checkpoints,
  DamagedCheckpoint,
  _digest,
  _files_of,
  find_damage,
)
from isomax_jax.training.log import Tally
from isomax_jax.training.optim import sgd
from tests.fuzz.strategies import changed, damaged, fuzzed, json_files, read_or_refuse
from tests.training.silence import silenced
from tests.training.tiny import SHAPE, TinyNetwork

STEP = 7
NOTES = Tally(seconds=1.5, line_sums={"loss": 0.25}, line_steps=3).to_json()


@pytest.fixture(autouse=True)
def silent():
  """What a failed read leaves behind is no warning: the failure itself is looked at."""
  with silenced():
    yield


@pytest.fixture(scope="module")
def state():
  optimizer = sgd(OptimConfig())
  state = create_state(TinyNetwork(None), optimizer, jax.random.key(0), SHAPE)
  return state.replace(step=jnp.asarray(STEP, jnp.int32))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, state):
  folder = tmp_path_factory.mktemp("whole")
  with contextlib.closing(Checkpoints(folder, keep_best=True)) as checkpoints:
    checkpoints.save(state, NOTES, accuracy=0.5)
  return folder


@pytest.fixture
def restore(tmp_path, state):
  """Restore the best checkpoint, as prediction does, or say that it is damaged."""

  def read():
    with contextlib.closing(Checkpoints(tmp_path / "all", read_only=True)) as checkpoints:
      restored, notes = checkpoints.restore(state, step=checkpoints.best_step())
    with naming(tmp_path / "all"):
      return restored, Tally.from_json(notes)

  return lambda: read_or_refuse(read, tmp_path / "all")


@pytest.fixture
def fresh(tmp_path, whole):
  """Return a function that copies the whole checkpoint anew."""

  def copy():
    shutil.rmtree(tmp_path / "all", ignore_errors=True)
    return shutil.copytree(whole, tmp_path / "all") / str(STEP)

  return copy


def names_of(whole):
  return sorted(_files_of(whole / str(STEP)))


def sign(folder):
  """Write the manifest that belongs to what is there."""
  digests = {name: _digest(path) for name, path in _files_of(folder).items()}
  (folder / MANIFEST).write_text(json.dumps({"sha256": digests}))


def same(state, other):
  for part in ("step", "params", "batch_stats", "opt_state"):
    chex.assert_trees_all_equal(getattr(state, part), getattr(other, part))


def test_damage_is_seen(whole, fresh, restore, state):
  """Whatever is done to any one file, what is restored is what was saved."""
  names = [*names_of(whole), "_CHECKPOINT_METADATA", MANIFEST]

  @fuzzed(60)
  @given(st.data(), st.sampled_from(names))
  def check(data, name):
    folder = fresh()
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))
    found = restore()
    if found is not None:
      same(found[0], state)
      assert found[1].to_json() == NOTES

  check()


@pytest.mark.slow
def test_forged_metadata_are_refused_or_harmless(whole, fresh, restore, state):
  """With a manifest that belongs to them, as only who can write the folder can make it."""
  names = [
    "_CHECKPOINT_METADATA", "metrics/metrics", "notes/metadata", "state/_METADATA",
    "state/_sharding", "state/array_metadatas/process_0",
  ]  # fmt: skip

  @fuzzed(80)
  @given(st.data(), st.sampled_from(names))
  def check(data, name):
    folder = fresh()
    value = json.loads((folder / name).read_bytes())
    (folder / name).write_bytes(data.draw(json_files(value)))
    sign(folder)
    found = restore()
    if found is not None:
      same(found[0], state)

  check()


def test_forged_arrays_are_of_the_type_and_shape_that_is_expected(whole, fresh, restore, state):
  names = [name for name in names_of(whole) if "ocdbt" in name or "/d/" in name]

  @fuzzed(40)
  @given(st.data(), st.sampled_from(names))
  def check(data, name):
    folder = fresh()
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))
    sign(folder)
    found = restore()
    if found is not None:
      chex.assert_trees_all_equal_shapes_and_dtypes(found[0].params, state.params)

  check()


def test_the_manifest_is_json_of_any_kind(whole, fresh, restore, state):
  manifest = json.loads((whole / str(STEP) / MANIFEST).read_bytes())

  @fuzzed(40)
  @given(st.one_of(json_files(manifest), changed(manifest).map(lambda v: json.dumps(v).encode())))
  def check(content):
    (fresh() / MANIFEST).write_bytes(content)
    found = restore()
    if found is not None:
      same(found[0], state)

  check()


@pytest.mark.parametrize(
  "name", ["../../outside", "/etc/passwd", "/dev/zero", "state/../../../outside", "..", ""]
)
def test_a_manifest_does_not_lead_out_of_its_folder(fresh, tmp_path, monkeypatch, name):
  folder = fresh()
  (tmp_path / "outside").write_text("secret")
  manifest = json.loads((folder / MANIFEST).read_text())
  manifest["sha256"][name] = _digest(tmp_path / "outside")
  (folder / MANIFEST).write_text(json.dumps(manifest))
  opened = []
  monkeypatch.setattr(
    "isomax_jax.training.checkpoints._digest", lambda path: opened.append(path) or _digest(path)
  )
  assert find_damage(folder) == f"{name} is missing".strip()
  assert all(path.is_relative_to(folder) and ".." not in path.parts for path in opened)


def test_a_file_that_no_manifest_knows_is_damage(fresh):
  folder = fresh()
  (folder / "state" / "extra").touch()
  assert find_damage(folder) == "state/extra was not written with it"
  sign(folder)
  assert find_damage(folder) is None
  (folder / MANIFEST).write_text('{"sha256": {}}')
  assert "was not written with it" in find_damage(folder)


@pytest.mark.parametrize("kind", ["pipe", "socket", "loop", "folder"])
def test_what_is_no_file_is_not_opened(fresh, kind, monkeypatch):
  folder = fresh()
  path = folder / "notes" / "metadata"
  path.unlink()
  monkeypatch.chdir(path.parent)  # The name of a socket must be short.
  match kind:
    case "pipe":
      os.mkfifo(path)
    case "socket":
      with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    case "loop":
      path.symlink_to(path)
    case "folder":
      path.mkdir()
  assert find_damage(folder) == "notes/metadata is missing"


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.int8, jnp.bool_, jnp.complex64])
def test_arrays_of_another_type_are_not_cast(tmp_path, state, restore, dtype):
  other = state.replace(params=jax.tree.map(lambda leaf: leaf.astype(dtype), state.params))
  with contextlib.closing(Checkpoints(tmp_path / "all")) as checkpoints:
    checkpoints.save(other, NOTES, accuracy=0.5)
  with (
    contextlib.closing(Checkpoints(tmp_path / "all", read_only=True)) as checkpoints,
    pytest.raises(ValueError, match=rf"is not of this network: .* is {jnp.dtype(dtype)}\["),
  ):
    checkpoints.restore(state)


def test_a_changed_accuracy_does_not_choose_another_checkpoint(tmp_path, state):
  with contextlib.closing(Checkpoints(tmp_path, keep_best=True)) as checkpoints:
    for step, accuracy in ((1, 0.9), (2, 0.5)):
      checkpoints.save(state.replace(step=jnp.asarray(step)), NOTES, accuracy=accuracy)
  (tmp_path / "1" / "metrics" / "metrics").write_text('{"accuracy": 0.1}')
  with (
    contextlib.closing(Checkpoints(tmp_path, read_only=True)) as checkpoints,
    pytest.raises(DamagedCheckpoint, match=f"^checkpoint 1 in {tmp_path} is damaged: metrics/m"),
  ):
    checkpoints.best_step()


@fuzzed(60)
@given(changed(NOTES))
def test_notes_are_a_tally_or_refused(notes):
  try:
    tally = Tally.from_json(notes)
  except ValueError:
    return
  assert isinstance(tally.line_sums, dict)
  assert isinstance(tally.seconds + tally.line_steps, int | float)
