import os
import subprocess
import sys

from experiments import figures, soak


def test_a_process_is_watched_until_it_ends(tmp_path):
  """It logs, opens files and ends when it is told to."""
  program = (
    "import sys; log = open(sys.argv[1], 'w')\n"
    "print('{\"step\": 7}', file=log, flush=True)\n"
    "opened = [open('/dev/null') for _ in range(20)]\n"
    "print('ready', flush=True); sys.stdin.readline()"
  )
  log = tmp_path / "metrics.jsonl"
  pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
  with subprocess.Popen([sys.executable, "-c", program, str(log)], **pipes) as process:
    assert process.stdout.readline() == b"ready\n"
    samples = []
    for sample in soak.watch(process, tmp_path, seconds=0.01):
      samples.append(sample)
      process.stdin.close()
  first = samples[0]
  assert (first.step, first.log, first.disk) == (7, 12, 12)
  assert 24 <= first.files <= 30
  assert first.threads == 1
  assert 1e6 < first.memory < 1e9
  assert soak.take_sample(process.pid, tmp_path) is None
  assert soak.take_sample(os.getpid(), tmp_path / "nowhere") is None


def test_the_figure_shows_all_of_a_run():
  samples = [
    soak.Sample(step=1000 * n, memory=600 + n, files=5, threads=9, log=10 * n, disk=20 * n)
    for n in range(1, 4)
  ]
  memory, files, disk = figures.soak(samples).axes
  (line,) = files.lines
  assert list(line.get_ydata()) == [5, 5, 5]
  assert memory.get_xlim() == (0, 3)
  assert len(disk.lines) == 2
