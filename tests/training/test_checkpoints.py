import contextlib
import logging
import resource
import shutil
import sys
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

from isomax_jax import runs
from isomax_jax.training.checkpoints import (
  MANIFEST,
  Checkpoints,
  DamagedCheckpoint,
  find_damage,
  silence,
)
from tests.slow import slow
from tests.training.silence import LOGGERS, silenced


@pytest.fixture
def silent():
  with silenced():
    yield


def at(state, step):
  """The state as if it had taken some steps."""
  params = jax.tree.map(lambda leaf: leaf + step, state.params)
  return state.replace(step=jnp.asarray(step, jnp.int32), params=params)


def save(folder, make_state, steps, **options):
  with contextlib.closing(Checkpoints(folder, **options)) as checkpoints:
    for step in steps:
      checkpoints.save(at(make_state(), step), {"seconds": step / 7})


def test_what_is_saved_comes_back_with_its_notes(tmp_path, make_state):
  state = at(make_state(), 7)
  notes = {"seconds": 0.1 + 0.2, "sums": {"loss": 1e-17}}
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    assert checkpoints.latest_step() is None
    assert checkpoints.restore_last(make_state()) is None
    checkpoints.save(state, notes)
  for read_only in (False, True):
    with contextlib.closing(Checkpoints(tmp_path, read_only=read_only)) as checkpoints:
      assert checkpoints.latest_step() == 7
      restored, restored_notes = checkpoints.restore(make_state())
    assert restored_notes == notes
    for part in ("step", "params", "batch_stats", "opt_state"):
      chex.assert_trees_all_equal(getattr(restored, part), getattr(state, part))


def test_saving_and_reading_say_nothing_to_who_imports(tmp_path, make_state, caplog):
  with caplog.at_level(logging.WARNING):
    save(tmp_path, make_state, [1, 2])
    Checkpoints(tmp_path, read_only=True).close()
  assert not caplog.records


@pytest.mark.parametrize(
  "name", ["sp ace ünï", "a?*{}#%20", *map(slow, ["]", "100%", "'q\"", "~", "-x", "a:b"])]
)
def test_a_checkpoint_is_read_wherever_it_is_kept(tmp_path, make_state, name):
  save(tmp_path / name / "checkpoints", make_state, [7])
  with contextlib.closing(Checkpoints(tmp_path / name / "checkpoints")) as checkpoints:
    restored, _ = checkpoints.restore_last(make_state())
  chex.assert_trees_all_equal(restored.params, at(make_state(), 7).params)


@pytest.mark.parametrize(("name", "letter"), [("run[1]", r"\["), ("[x", r"\["), ("a\\b", r"\\")])
def test_where_a_checkpoint_could_not_be_read_none_is_written(tmp_path, name, letter):
  message = rf"^checkpoints cannot be kept in .*: choose a directory without {letter} in its path$"
  with pytest.raises(ValueError, match=message):
    Checkpoints(tmp_path / name / "checkpoints")
  assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_read_where_it_could_not_be_written(tmp_path, make_state):
  save(tmp_path / "elsewhere", make_state, [7])
  (tmp_path / "elsewhere").rename(tmp_path / "run[1]")
  with contextlib.closing(Checkpoints(tmp_path / "run[1]", read_only=True)) as checkpoints:
    restored, _ = checkpoints.restore(make_state())
  chex.assert_trees_all_equal(restored.params, at(make_state(), 7).params)
  (tmp_path / "run[1]").rename(tmp_path / "back\\slash")
  with pytest.raises(ValueError, match=r"without \\ in its path$"):
    Checkpoints(tmp_path / "back\\slash", read_only=True)


@pytest.mark.parametrize(("before", "after"), [(4, 1), (1, 4)])
def test_what_some_devices_save_others_restore(tmp_path, make_state, before, after):
  def on(count):
    mesh = jax.make_mesh((count,), ("data",), devices=jax.devices()[-count:])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(make_state(), sharding), sharding

  state = at(on(before)[0], 7)
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    checkpoints.save(state, {})
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    target, sharding = on(after)
    restored, _ = checkpoints.restore(target)
  chex.assert_trees_all_equal(restored.variables, state.variables)
  chex.assert_trees_all_equal(restored.opt_state, state.opt_state)
  assert {leaf.sharding for leaf in jax.tree.leaves(restored.params)} == {sharding}


def test_a_network_is_read_alone_whatever_trained_it(tmp_path, make_state, monkeypatch):
  """The optimiser's arrays are not read, of the expected structure or of another."""
  state = at(make_state(), 7)
  adam = state.replace(opt_state=optax.adam(0.1).init(state.params))
  read = []
  for handler in (ocp.type_handlers.ArrayHandler, ocp.type_handlers.NumpyHandler):

    async def deserialize(self, infos, args=None, original=handler.deserialize):
      read.extend(info.name for info in infos)
      return await original(self, infos, args)

    monkeypatch.setattr(handler, "deserialize", deserialize)
  for trained in (state, adam):
    folder = tmp_path / str(trained is adam)
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
      checkpoints.save(trained, {})
    with contextlib.closing(Checkpoints(folder, read_only=True)) as checkpoints:
      for variables in (jax.eval_shape(lambda: state.variables), state.variables):
        read.clear()
        restored = checkpoints.restore_variables(variables)
        chex.assert_trees_all_equal(restored, state.variables)
        assert len(read) == len(jax.tree.leaves(variables))
        assert {name.partition(".")[0] for name in read} == {"params", "batch_stats"}
  with (
    contextlib.closing(Checkpoints(tmp_path / "True")) as checkpoints,
    pytest.raises(ValueError, match=r"is not of this network: opt_state/1/0/trace"),
  ):
    checkpoints.restore(state)


def test_notes_are_kept_as_they_were_when_saved(tmp_path, make_state):
  notes = {"sums": {"loss": 1.0}}
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    checkpoints.save(make_state(), notes)
    notes["sums"]["loss"] += 1.0  # While they may be on their way to the disk.
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    assert checkpoints.restore(make_state())[1] == {"sums": {"loss": 1.0}}


def test_only_the_last_ones_are_kept(tmp_path, make_state):
  save(tmp_path, make_state, range(4), kept=2)
  assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_the_best_one_is_kept_too(tmp_path, make_state):
  accuracies = {1: 0.5, 2: 0.8, 3: None, 4: 0.8, 5: 0.7, 6: None, 7: 0.6}
  with contextlib.closing(Checkpoints(tmp_path, kept=2, keep_best=True)) as checkpoints:
    for step, accuracy in accuracies.items():
      checkpoints.save(at(make_state(), step), {}, accuracy=accuracy)
  with contextlib.closing(Checkpoints(tmp_path, read_only=True)) as checkpoints:
    assert checkpoints.steps() == [4, 6, 7]
    assert checkpoints.best_step() == 4


def test_nothing_to_restore_is_an_error(tmp_path, make_state):
  with (
    contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints,
    pytest.raises(FileNotFoundError, match="no checkpoint in"),
  ):
    checkpoints.restore(make_state())


def test_a_step_that_is_not_there_is_not_called_damaged(tmp_path, make_state):
  save(tmp_path, make_state, [3, 5])
  with (
    contextlib.closing(Checkpoints(tmp_path)) as checkpoints,
    pytest.raises(FileNotFoundError, match=r"no checkpoint 4 in .*; kept are: 3, 5"),
  ):
    checkpoints.restore(make_state(), step=4)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, make_state):
  state = make_state()
  save(tmp_path, make_state, [0])
  other = state.replace(params={"head": {"prototypes": state.params["head"]["prototypes"][:2]}})
  wider = state.replace(params=jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 2), state.params))
  for different in (other, wider):
    with (
      contextlib.closing(Checkpoints(tmp_path)) as checkpoints,
      pytest.raises(ValueError, match=r"checkpoint 0 in .* is not of this network: "),
    ):
      checkpoints.restore_last(different)
    with (
      contextlib.closing(Checkpoints(tmp_path)) as checkpoints,
      pytest.raises(ValueError, match=r"of this network: params/.* is .* there, .* here"),
    ):
      checkpoints.restore_variables(different.variables)


def files_of(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


def flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1 << 3
  path.write_bytes(content)


def cut_short(path):
  path.write_bytes(path.read_bytes()[:-1])


def remove(path):
  path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
  "damage",
  [flip_a_bit, cut_short, remove],
)
def test_damage_to_any_file_is_found_or_is_harmless(tmp_path, make_state, damage):
  """In copies of one checkpoint, one file after the other."""
  save(tmp_path / "whole", make_state, [7])
  expected = at(make_state(), 7)
  names = [path.relative_to(tmp_path / "whole") for path in files_of(tmp_path / "whole")]
  assert len(names) > 6
  harmless = []
  for number, name in enumerate(names):
    folder = tmp_path / str(number)
    shutil.copytree(tmp_path / "whole", folder)
    damage(folder / name)
    with contextlib.closing(Checkpoints(folder, read_only=True)) as checkpoints:
      if find_damage(folder / "7") is None:
        restored, _ = checkpoints.restore(make_state(), step=7)
        chex.assert_trees_all_equal(restored.params, expected.params)
        harmless.append(name.name)
      else:
        for restore, target in (
          (checkpoints.restore, make_state()),
          (checkpoints.restore_variables, make_state().variables),
        ):
          with pytest.raises(DamagedCheckpoint, match=r"checkpoint 7 in .* is damaged: "):
            restore(target, step=7)
  # None of them holds anything that is restored; the manifest's last byte is a new line.
  assert set(harmless) <= {"_CHECKPOINT_METADATA", "commit_success.txt", MANIFEST}


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, make_state, caplog, silent):
  save(tmp_path, make_state, [1, 2, 3])
  for step in (2, 3):
    cut_short(max(files_of(tmp_path / str(step) / "state"), key=lambda path: path.stat().st_size))
  with (
    caplog.at_level(logging.WARNING),
    contextlib.closing(Checkpoints(tmp_path, kept=2)) as checkpoints,
  ):
    restored, notes = checkpoints.restore_last(make_state())
    assert int(restored.step) == 1
    assert notes == {"seconds": 1 / 7}
    # What comes next has the steps of the damaged ones.
    checkpoints.save(at(make_state(), 2), {})
  messages = [record.getMessage() for record in caplog.records]
  assert [message[:23] for message in messages] == [f"checkpoint {n} is damaged" for n in (3, 2)]
  assert all("going on from step 1" in message for message in messages)
  names = sorted(path.name for path in tmp_path.iterdir())
  assert names == ["1", "2", "2.damaged-1", "3.damaged-1"]
  assert find_damage(tmp_path / "2") is None


def test_where_all_are_damaged_nothing_is_touched(tmp_path, make_state):
  save(tmp_path, make_state, [1, 2])
  for step in (1, 2):
    (tmp_path / str(step) / MANIFEST).unlink()
  with (
    contextlib.closing(Checkpoints(tmp_path)) as checkpoints,
    pytest.raises(DamagedCheckpoint, match=r"is undamaged \(2: manifest.json is missing; 1: man"),
  ):
    checkpoints.restore_last(make_state())
  assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_disk_without_space_for_a_checkpoint_gets_none_of_it(tmp_path, make_state, monkeypatch):
  save(tmp_path, make_state, [1])
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=50))
  with pytest.raises(OSError, match=r"^checkpoint 2 .* \(it takes .* and 0.0 MB are free\); .* 1$"):
    save(tmp_path, make_state, [2])
  assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_full_disk_is_one_line_and_leaves_the_last_good_one(tmp_path, make_state, silent):
  """A limit on the size of files stands for the disk."""
  save(tmp_path, make_state, [1])
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    with pytest.raises(OSError, match=r"^checkpoint 2 could not be saved in .*; whole ones: 1$"):
      save(tmp_path, make_state, [2])
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    restored, _ = checkpoints.restore_last(make_state())
    assert int(restored.step) == 1
    checkpoints.save(at(make_state(), 2), {})
  assert find_damage(tmp_path / "2") is None
  assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def state_of_process():
  levels = {name: logging.getLogger(name).level for name in LOGGERS}
  return {**levels, "hook": sys.unraisablehook}


def test_who_imports_the_library_keeps_loggers_and_hooks(tmp_path, make_state, trained_run):
  before = state_of_process()
  save(tmp_path, make_state, [1])
  with contextlib.closing(Checkpoints(tmp_path, kept=1, keep_best=True)) as checkpoints:
    checkpoints.restore_last(make_state())
    assert state_of_process() == before
  runs.load(trained_run)
  assert state_of_process() == before


def test_silence_is_for_the_whole_process(silent):
  assert {name: logging.getLogger(name).level for name in LOGGERS} == dict.fromkeys(
    LOGGERS, logging.CRITICAL
  )


def test_what_a_failure_leaves_behind_is_not_shown(monkeypatch, silent):
  shown = []
  monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(unraisable.exc_value))
  for _ in range(2):
    silence()
  write, read, other = map(RuntimeError, ("Event loop is closed", "while reading", "another one"))
  read.__cause__ = GeneratorExit()
  for error in (write, read, other):
    sys.unraisablehook(SimpleNamespace(exc_value=error))
  assert shown == [other]
