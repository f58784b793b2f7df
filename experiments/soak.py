"""Does a long run grow? Memory, open files and the log's size over 200,000 steps.

    python -m experiments.soak --workdir runs/soak

A small network is trained on two digits for some 6,000 epochs, with all that a long run does:
a line of the log an epoch, validations, and a checkpoint twice a minute. What the process holds is
noted every ten seconds. It takes five to fifteen minutes on a core.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import tyro

from isomax_jax._files import read_json_lines

NAME = "soak"
BATCH = 8
_PAGE = 4096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
  """What a process holds at a step.

  Attributes:
    step: The step that was logged last.
    memory: Bytes of memory that are its own and in use.
    files: Open files, sockets and pipes.
    threads: Threads.
    log: Bytes of the log.
    disk: Bytes of the run directory.
  """

  step: int
  memory: int
  files: int
  threads: int
  log: int
  disk: int


def take_sample(process: int, workdir: Path) -> Sample | None:
  """Look at a process that trains; None if it has not logged yet or has ended."""
  log = workdir / "metrics.jsonl"
  try:
    lines = log.read_text().splitlines()
    system = Path("/proc") / str(process)
    return Sample(
      step=json.loads(lines[-1])["step"],
      memory=_PAGE * int((system / "statm").read_text().split()[1]),
      files=len(list((system / "fd").iterdir())),
      threads=len(list((system / "task").iterdir())),
      log=log.stat().st_size,
      disk=sum(path.stat().st_size for path in workdir.rglob("*") if path.is_file()),
    )
  except (FileNotFoundError, IndexError, ProcessLookupError, json.JSONDecodeError):
    return None


def watch(process: subprocess.Popen, workdir: Path, *, seconds: float) -> Iterator[Sample]:
  """Yield a sample every so many seconds until a process ends."""
  while process.poll() is None:
    sample = take_sample(process.pid, workdir)
    if sample is not None:
      yield sample
    time.sleep(seconds)


def read_samples(path: Path) -> list[Sample]:
  """Read the samples of a file."""
  return [Sample(**line) for line in read_json_lines(path)]


def main(
  workdir: Path = Path("runs/soak"),
  data_dir: Path | None = None,
  steps: int = 200_000,
  seconds: float = 10,
) -> None:
  """Train and note what the process holds.

  Args:
    workdir: Where the run and the samples go: soak.jsonl.
    data_dir: Where sets are kept. None: $TFDS_DATA_DIR, else ~/tensorflow_datasets.
    steps: Steps to take, about.
    seconds: Seconds between samples.
  """
  run_dir = workdir / "run"
  command = [sys.executable, "-c", "from isomax_jax.cli.main import main; main()"]
  command += ["train", "--workdir", str(run_dir), "--data", "mnist_5k:0,1"]
  command += ["--epochs", str(round(steps * BATCH / 270)), "--optim.batch-size", str(BATCH)]
  command += ["--optim.learning-rate", "0.01", "--run.validate-epochs", "100"]
  command += ["--run.checkpoint-epochs", "1e9", "--run.checkpoint-minutes", "0.5"]
  if data_dir is not None:
    command += ["--data-dir", str(data_dir)]
  shutil.rmtree(run_dir, ignore_errors=True)
  workdir.mkdir(parents=True, exist_ok=True)
  path = workdir / f"{NAME}.jsonl"
  path.unlink(missing_ok=True)
  with subprocess.Popen(command) as process:
    for sample in watch(process, run_dir, seconds=seconds):
      with path.open("a") as file:
        file.write(json.dumps(dataclasses.asdict(sample)) + "\n")
  if process.returncode:
    raise SystemExit(f"training ended with {process.returncode}")
  print(f"samples: {path}")


if __name__ == "__main__":
  tyro.cli(main)
