"""What do faults cost a run? Kill it, stop it, fill its disk, damage its files, and start it again.

    python -m experiments.reliability --workdir runs/reliability

A small network is trained on two digits, with a step a line of the log and a checkpoint every ten.
Each try does one thing to a run of it, starts the run again, and compares what comes out with the
run to which nothing was done. All tries take half an hour on a core; tries that were recorded in
the directory before are not repeated.
"""

import collections
import ctypes
import dataclasses
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orbax.checkpoint as ocp
import tyro
from rich.progress import track

from experiments.markdown import markdown
from isomax_jax._files import read_json, read_json_lines
from isomax_jax.cli.main import main as isomax_jax
from isomax_jax.reporting.tables import Column, Table
from isomax_jax.training.checkpoints import MANIFEST, find_damage

NAME = "reliability"
STEPS, INTERVAL = 101, 10
TRAIN = (
  *("train", "--data", "mnist_5k:0,1", "--epochs", "12", "--optim.batch-size", "32"),
  *("--optim.learning-rate", "0.02", "--run.log-epochs", "0.12"),
  *("--run.checkpoint-epochs", "1.2", "--run.validate-epochs", "4"),
)
# What differs in the log of two equal runs.
_TIMES = ("images_per_second", "compile_seconds")

# A child has all that is slow to import, and nothing that is computed, from the start.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["isomax_jax.cli.train", "isomax_jax.runs"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Try:
  """What was seen when one thing was done to one run.

  Attributes:
    fault: What was done.
    number: Which of its tries this is.
    outcome: What the run said or did about it.
    steps_lost: Steps that had to be taken again.
    equal: Whether the finished run is, bit for bit, the one to which nothing was done; None where
      nothing was to be finished.
  """

  fault: str
  number: int
  outcome: str
  steps_lost: int
  equal: bool | None


class Ended(NamedTuple):
  """How a process ended, and all that it said."""

  code: int
  output: str


class Run:
  """A run directory and the process that trains in it.

  Args:
    directory: The run directory.
    data_dir: Where sets are kept.
  """

  def __init__(self, directory: Path, data_dir: Path):
    self.directory = directory
    self.checkpoints = directory / "checkpoints"
    self.output = directory.with_suffix(".out")
    self._data_dir = data_dir

  def start(
    self, *options: str, file_bytes: int = 0, obey_modes: bool = False
  ) -> Callable[[], Ended]:
    """Train in a new process, and return the function that waits for its end.

    Args:
      options: More of the command line.
      file_bytes: Size that no file gets beyond, as on a disk that is full; 0 sets none.
      obey_modes: Whether a privileged user gives up the right to write where modes forbid it.
    """
    arguments = [*TRAIN, "--data-dir", str(self._data_dir), "--workdir", str(self.directory)]
    self.process = _processes.Process(
      target=_train, args=([*arguments, *options], self.output, file_bytes, obey_modes)
    )
    self.process.start()

    def end() -> Ended:
      self.process.join()
      return Ended(self.process.exitcode, self.output.read_text())

    return end

  def finish(self) -> Ended:
    """Train to the end."""
    return self.start()()

  def wait_until(self, condition: Callable[[], bool]) -> bool:
    """Wait for a condition, and tell whether the process is alive when it holds."""
    while self.process.is_alive() and not condition():
      time.sleep(0.001)
    return self.process.is_alive()

  def wait_for_step(self, step: float) -> bool:
    """Wait until a step is logged, and tell whether the process is alive."""
    return self.wait_until(lambda: self.steps() >= step)

  def saving(self) -> list[Path]:
    """List checkpoints that are being written, or that were when the process died."""
    return list(self.checkpoints.glob("*.orbax-checkpoint-tmp*"))

  def whole(self) -> list[int]:
    """List the steps of the checkpoints that are what was written."""
    folders = self.checkpoints.glob("[0-9]*")
    return sorted(int(f.name) for f in folders if f.name.isdigit() and not find_damage(f))

  def lines(self) -> list[str]:
    """Return the lines of the log."""
    path = self.directory / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []

  def steps(self) -> int:
    """Return the last step of the log."""
    whole_lines = [line for line in self.lines() if line.endswith("}")]
    return json.loads(whole_lines[-1])["step"] if whole_lines else 0

  def equals(self, other: "Run") -> bool:
    """Tell whether all that was learnt, logged and decided is the same, bit for bit."""
    logs = [
      [{name: v for name, v in line.items() if name not in _TIMES} for line in lines]
      for lines in (read_json_lines(run.directory / "metrics.jsonl") for run in (self, other))
    ]
    decisions = [(run.directory / "decision.json").read_bytes() for run in (self, other)]
    states = [_arrays(run.checkpoints / str(STEPS) / "state") for run in (self, other)]
    return logs[0] == logs[1] and decisions[0] == decisions[1] and states[0] == states[1]


def _arrays(folder: Path) -> dict[str, bytes]:
  tree = ocp.tree.to_flat_dict(ocp.StandardCheckpointer().restore(folder))
  return {"/".join(map(str, path)): np.asarray(leaf).tobytes() for path, leaf in tree.items()}


def _train(arguments: list[str], output: Path, file_bytes: int, obey_modes: bool) -> None:
  """Be the command line, its output in a file."""
  with output.open("w") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  if file_bytes:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
  if obey_modes:
    _give_up_overriding_modes()
  isomax_jax(arguments)


def _give_up_overriding_modes() -> None:
  libc = ctypes.CDLL(None, use_errno=True)
  header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # The third version of capabilities, this process.
  sets = (ctypes.c_uint32 * 6)()  # Effective, permitted and inheritable; then their upper halves.
  libc.capget(header, sets)
  for which in range(3):
    sets[which] &= ~(1 << 1)  # CAP_DAC_OVERRIDE
  if libc.capset(header, sets):
    raise OSError(ctypes.get_errno(), "the right to override modes was not given up")


class Study:
  """The run to which nothing is done, and copies of it that were stopped on the way.

  Args:
    workdir: Folder of all runs.
  """

  def __init__(self, workdir: Path):
    self.workdir = workdir.absolute()
    self.data_dir = self.workdir / "data"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(self.workdir / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    self.undisturbed = Run(self.workdir / "undisturbed", self.data_dir)
    shutil.rmtree(self.undisturbed.directory, ignore_errors=True)
    _expect(self.undisturbed.finish(), code=0)
    shutil.rmtree(self.undisturbed.directory)
    started = time.monotonic()
    _expect(self.undisturbed.finish(), code=0)
    self.seconds = time.monotonic() - started  # Of a run whose programs are compiled.
    self.stopped = self.new("stopped")
    end = self.stopped.start()
    self.stopped.wait_for_step(STEPS - 2 * INTERVAL)
    self.stopped.process.terminate()
    _expect(end(), code=128 + signal.SIGTERM)

  def new(self, name: str) -> Run:
    """Return a run in an empty directory."""
    shutil.rmtree(self.workdir / name, ignore_errors=True)
    return Run(self.workdir / name, self.data_dir)

  def copy(self) -> Run:
    """Return a run that was stopped shortly before its end."""
    run = self.new("run")
    shutil.copytree(self.stopped.directory, run.directory)
    return run

  def finish(self, run: Run) -> tuple[str, int, bool]:
    """Start a run again; return how it ends, how many steps it takes again, and if it is equal."""
    before, reached = run.lines(), run.steps()
    ended = run.finish()
    if ended.code:
      return f"does not start again: {_last_line(run, ended)}", reached, False
    # A line that is not taken again keeps its time.
    pairs = zip(before, run.lines(), strict=False)
    kept = [line for line, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
    resumed = json.loads(kept[-1])["step"] if kept else 0
    return "goes on", reached - resumed, run.equals(self.undisturbed)


def _expect(ended: Ended, *, code: int) -> None:
  if ended.code != code:
    raise RuntimeError(f"a run to which nothing was done ended with {ended.code}: {ended.output}")


def _last_line(run: Run, ended: Ended) -> str:
  """Return the last line of what a process said, without what differs from try to try."""
  lines = ended.output.strip().splitlines() or ["nothing"]
  line = lines[-1].replace(str(run.directory), "RUN").removeprefix("isomax-jax: ")
  return re.sub(r"\.\d+\.tmp", ".tmp", line)


def _said_in_one_line(ended: Ended) -> bool:
  """Tell whether a failure is one line and no traceback; the line of progress is another matter."""
  traces = re.search(r"Traceback|Exception ignored", ended.output)
  return not traces and ended.output.count("isomax-jax: ") == 1


def kill_starting(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Kill a run before its first step is logged."""
  while True:
    run = study.new("run")
    end = run.start()
    time.sleep(chance.uniform(0, study.seconds))
    killed = _kill(run, end)
    if killed and not run.lines():
      return study.finish(run)


def kill(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Kill a run after any step, while nothing is being written."""
  while True:
    run = study.new("run")
    end = run.start()
    run.wait_for_step(chance.uniform(1, STEPS - 1))
    if _kill(run, end) and not run.saving():
      return study.finish(run)


def kill_saving(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Kill a run while a checkpoint is being written."""
  while True:
    run = study.new("run")
    end = run.start()
    run.wait_for_step(chance.uniform(0, STEPS - INTERVAL))
    run.wait_until(run.saving)
    time.sleep(chance.uniform(0, 0.05))
    if _kill(run, end) and run.saving():
      return study.finish(run)


def _kill(run: Run, end: Callable[[], Ended]) -> bool:
  """Kill a run, and tell whether it had not ended before."""
  run.process.kill()
  ended = end()
  if ended.code != -signal.SIGKILL:
    _expect(ended, code=0)
  return ended.code != 0


def stop(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Ask a run to stop."""
  while True:
    run = study.new("run")
    end = run.start()
    run.wait_for_step(chance.uniform(1, STEPS - 1))
    run.process.terminate()
    ended = end()
    if ended.code == 0:
      continue  # It was too late.
    said = re.sub(r"step \d+", "step N", _last_line(run, ended))
    outcome, lost, equal = study.finish(run)
    return f"{said}; {outcome}", lost, equal


def fill_disk(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Let no file get beyond a size that some file of a checkpoint has."""
  run = study.copy()
  largest = max(path.stat().st_size for path in run.checkpoints.rglob("*") if path.is_file())
  # The log, which is small, goes on.
  ended = run.start(file_bytes=chance.randint(64_000, largest - 1))()
  if ended.code == 0:
    return "not noticed", 0, False
  named = [path for path in run.checkpoints.iterdir() if path.name.isdigit()]
  intact = "whole ones stay" if len(named) == len(run.whole()) > 0 else "ONES ARE DAMAGED"
  said = "one line" if _said_in_one_line(ended) else "several lines"
  reason = "could not be saved" in _last_line(run, ended)
  outcome, lost, equal = study.finish(run)
  return f"stops with {said}{'' if reason else ', UNCLEAR'}; {intact}; {outcome}", lost, equal


def _flip(path: Path, chance: random.Random) -> None:
  content = bytearray(path.read_bytes())
  content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
  path.write_bytes(content)


def _truncate(path: Path, chance: random.Random) -> None:
  os.truncate(path, chance.randrange(path.stat().st_size))


def _delete(path: Path, chance: random.Random) -> None:
  del chance
  path.unlink()


def _files(run: Run, step: int) -> list[Path]:
  """List the files of a checkpoint that hold anything: those with a hash, and the hashes."""
  folder = run.checkpoints / str(step)
  files = [folder / name for name in [*read_json(folder / MANIFEST)["sha256"], MANIFEST]]
  return [path for path in files if path.stat().st_size]


def damage_last(
  study: Study, chance: random.Random, *, damage: Callable[[Path, random.Random], None], file: int
) -> tuple[str, int, bool]:
  """Damage a file of the last checkpoint."""
  run = study.copy()
  last = run.whole()[-1]
  damage(_files(run, last)[file], chance)
  outcome, lost, equal = study.finish(run)
  warned = f"checkpoint {last} is damaged" in run.output.read_text()
  aside = (run.checkpoints / f"{last}.damaged-1").exists()
  said = "says so and sets it aside" if warned and aside else "NOT NOTICED"
  return f"{said}; {outcome} from the one before", lost, equal


def damage_all(study: Study, chance: random.Random) -> tuple[str, int, None]:
  """Damage a file of every checkpoint."""
  run = study.copy()
  for step in run.whole():
    _flip(chance.choice(_files(run, step)), chance)
  before = _contents(run)
  refused, lost, equal = _refused(run, run.start()(), before)
  return re.sub(r"\d+: \S+ is", "STEP: FILE is", refused), lost, equal


def start_twice(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Start a second process in the directory of a first."""
  run = study.new("run")
  end = run.start()
  run.wait_for_step(chance.uniform(1, STEPS / 2))
  second = Run(run.directory, study.data_dir)
  second.output = run.output.with_suffix(".second")
  refused = second.finish()
  said = f"refused: {_last_line(run, refused)}" if refused.code == 1 else "NOT REFUSED"
  _expect(end(), code=0)
  return f"{said}; the first goes on", 0, run.equals(study.undisturbed)


def read_only(study: Study, chance: random.Random) -> tuple[str, int, bool]:
  """Take the right to write into the directory away, for a while."""
  del chance
  run = study.copy()
  before = _contents(run)
  folders = [run.directory, *(path for path in run.directory.rglob("*") if path.is_dir())]
  for folder in folders:
    folder.chmod(0o500)
  ended = run.start(obey_modes=True)()
  for folder in folders:
    folder.chmod(0o700)
  refused, *_ = _refused(run, ended, before)
  outcome, lost, equal = study.finish(run)
  return f"{refused}; with the right, {outcome}", lost, equal


def change_config(
  study: Study, chance: random.Random, *, options: Sequence[str]
) -> tuple[str, int, None]:
  """Start a run again with another config."""
  del chance
  run = study.copy()
  before = _contents(run)
  return _refused(run, run.start(*options)(), before)


def diverge(study: Study, chance: random.Random) -> tuple[str, int, None]:
  """Learn in steps so long that the loss is not finite."""
  del chance
  run = study.new("run")
  ended = run.start("--optim.learning-rate", "1e30")()
  finite = all(
    np.isfinite(np.frombuffer(leaf, np.float32)).all()
    for step in run.whole()
    for name, leaf in _arrays(run.checkpoints / str(step) / "state").items()
    if name.startswith("params")
  )
  saved = "what is saved is finite" if finite else "SAVED"
  said = re.sub(r"\d+", "N", _last_line(run, ended))
  return f"stops: {said}; {saved}", 0, None


def _contents(run: Run) -> dict[Path, bytes]:
  return {
    path: path.read_bytes()
    for path in run.directory.rglob("*")
    if path.is_file() and path.name != ".lock"
  }


def _refused(run: Run, ended: Ended, before: Mapping[Path, bytes]) -> tuple[str, int, None]:
  """Describe how a start is refused, and whether it has changed a file."""
  touched = "" if _contents(run) == before else "; FILES HAVE CHANGED"
  said = "refused" if ended.code == 1 else f"ENDS WITH {ended.code}"
  return f"{said}: {_last_line(run, ended)}{touched}", 0, None


Fault = Callable[[Study, random.Random], tuple[str, int, bool | None]]
FAULTS: Mapping[str, tuple[int, Fault]] = {
  "killed while it starts": (5, kill_starting),
  "killed between steps": (10, kill),
  "killed while it saves": (15, kill_saving),
  "asked to stop": (10, stop),
  "disk full while it saves": (10, fill_disk),
  "every checkpoint damaged": (5, damage_all),
  "started twice": (5, start_twice),
  "directory read-only": (1, read_only),
  **{
    f"started again with {what}": (1, partial(change_config, options=options))
    for what, options in {
      "another network": ("--model", "resnet_small"),
      "another head": ("--head", "softmax"),
      "other classes": ("--data", "mnist_5k:0-2"),
      "another seed": ("--seed", "1"),
    }.items()
  },
  "loss not finite": (1, diverge),
}
DAMAGES = {"with a flipped bit": _flip, "cut short": _truncate, "missing": _delete}


def faults(study: Study) -> Iterator[tuple[str, int, Fault]]:
  """Yield all tries: the fault, the try's number, and what does it."""
  for fault, (tries, function) in FAULTS.items():
    yield from ((fault, number, function) for number in range(tries))
  files = len(_files(study.stopped, study.stopped.whole()[-1]))
  for what, damage in DAMAGES.items():
    for file in range(files):
      function = partial(damage_last, damage=damage, file=file)
      yield f"a file of the last checkpoint {what}", file, function


def read_tries(path: Path) -> list[Try]:
  """Read the tries of a file."""
  return [Try(**line) for line in read_json_lines(path)]


def faults_table(tries: Sequence[Try]) -> str:
  """Tabulate faults: how often each was tried, what came of it and what was lost."""
  titles = "fault", "tries", "what happens", f"steps lost, of {INTERVAL}", "equal"
  rows = []
  for fault in dict.fromkeys(t.fault for t in tries):
    of_fault = [t for t in tries if t.fault == fault]
    outcomes = collections.Counter(t.outcome for t in of_fault)
    said = "<br>".join(
      outcome if len(outcomes) == 1 else f"{outcome} ({n})" for outcome, n in outcomes.items()
    )
    lost = [t.steps_lost for t in of_fault]
    finished = [t.equal for t in of_fault if t.equal is not None]
    equal = f"{sum(finished)} of {len(finished)}" if finished else "–"
    steps = "–".join(map(str, sorted({min(lost), max(lost)})))
    rows.append([fault, str(len(of_fault)), said, steps, equal])
  return markdown(Table(columns=[Column(title) for title in titles], rows=rows))


def main(workdir: Path = Path("runs/reliability")) -> None:
  """Make all tries that are not recorded.

  Args:
    workdir: Where the runs and the tries go: reliability.jsonl.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  path = workdir / f"{NAME}.jsonl"
  done = {(t.fault, t.number) for t in read_tries(path)} if path.exists() else set()
  study = Study(workdir)
  # In rounds: a study that is stopped has tried everything.
  rounds = sorted(faults(study), key=lambda each: each[1])
  for fault, number, function in track(rounds, description="faults"):
    if (fault, number) not in done:
      outcome, lost, equal = function(study, random.Random(f"{fault} {number}"))
      tried = Try(fault=fault, number=number, outcome=outcome, steps_lost=lost, equal=equal)
      with path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(tried)) + "\n")
  print(faults_table(read_tries(path)))


if __name__ == "__main__":
  tyro.cli(main)
