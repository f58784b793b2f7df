import dataclasses
import signal

import numpy as np
import pytest

from isomax_jax import data
from isomax_jax.cli.main import main
from isomax_jax.reporting import read_results
from isomax_jax.runs import quickstart
from isomax_jax.runs.known_set import find_known_set
from isomax_jax.training.interruption import Interrupted


@pytest.fixture
def short_jobs(monkeypatch):
  """One split, two epochs, whatever is asked for."""
  make_jobs = quickstart.make_jobs

  def shortened(*, seeds, quick):
    jobs = make_jobs(seeds=seeds, quick=True)
    return [
      job._replace(
        config=dataclasses.replace(
          job.config, optim=dataclasses.replace(job.config.optim, epochs=2)
        )
      )
      for job in jobs
    ]

  monkeypatch.setattr(quickstart, "make_jobs", shortened)
  return shortened(seeds=(0,), quick=True)


def test_the_protocol_is_the_one_that_was_fixed(digits_dir):
  jobs = quickstart.make_jobs(seeds=(0, 1), quick=False)
  assert len(jobs) == 3 * 2 * 2
  assert len({job.name for job in jobs}) == len(jobs)
  splits = [find_known_set(job.config).reference.classes for job in jobs[::2]][:3]
  assert splits == [tuple(range(8)), tuple(range(2, 10)), (0, 1, 2, 3, 6, 7, 8, 9)]
  for softmax, isomax in zip(jobs[::2], jobs[1::2], strict=True):
    assert (softmax.config.model.head, isomax.config.model.head) == ("softmax", "isomax")
    same = dataclasses.replace(softmax.config, model=isomax.config.model)
    assert same == isomax.config
  config = jobs[0].config
  optim = config.optim
  assert (optim.epochs, optim.batch_size, optim.learning_rate) == (200, 64, 0.1)
  assert (optim.milestones, optim.weight_decay, optim.momentum) == ((0.5, 0.75), 1e-4, 0.9)
  spec = find_known_set(config).spec
  assert (spec.crop_padding, spec.flip, spec.normalization) == (2, False, "image")
  examples = data.load("mnist_5k", "train", classes=splits[0], data_dir=digits_dir)
  training, validation = data.split_validation(examples, config.data.validation, seed=0)
  assert np.bincount(training.labels).tolist() == [100] * 8
  assert np.bincount(validation.labels).tolist() == [50] * 8
  test = data.load("mnist_5k", "test", classes=splits[0], data_dir=digits_dir)
  assert np.bincount(test.labels).tolist() == [350] * 8


def test_samples_are_of_the_kind_they_are_filed_under(tmp_path, digits_dir):
  with pytest.raises(ValueError, match="known_set must leave digits out"):
    quickstart.write_samples(tmp_path, "mnist_5k", seed=0, data_dir=digits_dir)
  quickstart.write_samples(tmp_path, "mnist_5k:0-7", seed=0, data_dir=digits_dir)
  files = {folder.name: sorted(folder.iterdir()) for folder in tmp_path.iterdir()}
  assert {kind: len(paths) for kind, paths in files.items()} == {
    "known": 100, "near": 100, "far": 100
  }  # fmt: skip
  known = [path.stem.rpartition("-")[2] for path in files["known"]]
  assert set(known) == set("01234567")
  assert {path.stem.rpartition("-")[2] for path in files["near"]} == {"8", "9"}
  assert {path.name.partition("-")[0] for path in files["far"]} == {"letters", "photos"}
  training = data.load("mnist_5k", "train", data_dir=digits_dir)
  seen = {image.tobytes() for image in training.images}
  images = [data.read_image(path, (28, 28, 1)) for path in files["known"]]
  assert not any(image.tobytes() in seen for image in images)
  test = data.load("mnist_5k", "test", data_dir=digits_dir)
  digits = {
    image.tobytes(): str(label) for image, label in zip(test.images, test.labels, strict=True)
  }
  assert [digits[image.tobytes()] for image in images] == known


@pytest.mark.slow
def test_the_command_ends_with_table_report_samples_and_what_to_do_next(
  short_jobs, tmp_path, digits_dir, capsys
):
  with pytest.raises(SystemExit) as stop:
    main(["quickstart", "--quick", "--workdir", str(tmp_path), "--data-dir", str(digits_dir)])
  output, errors = capsys.readouterr()
  assert stop.value.code == 0, errors
  assert "SHORTENED" in output
  for method in ("SoftMax+MPS", "SoftMax+ES", "IsoMax+MPS", "IsoMax+ES"):
    assert method in output
  runs = {head: read_results(tmp_path / f"{head}-0-7-seed0") for head in ("softmax", "isomax")}
  assert {r.experiment for run in runs.values() for r in run.records} == {"quickstart_quick"}
  (accuracy,) = [r.value for r in runs["isomax"].records if r.metric == "accuracy"]
  assert f"{100 * accuracy:.1f}" in output
  assert f"{runs['isomax'].decision['threshold']:.4f}" in output
  for name in ("report.html", "scores.png", "roc.png", "training.png"):
    assert (tmp_path / name).stat().st_size > 10_000
  assert f"isomax-jax predict {tmp_path}/isomax-0-7-seed0 {tmp_path}/samples" in output

  # A second time everything is there already: nothing is trained again.
  before = (tmp_path / "isomax-0-7-seed0" / "metrics.jsonl").read_bytes()
  with pytest.raises(SystemExit):
    main(["quickstart", "--quick", "--workdir", str(tmp_path), "--data-dir", str(digits_dir)])
  assert (tmp_path / "isomax-0-7-seed0" / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_stop_reaches_every_network_and_saves(short_jobs, tmp_path, digits_dir):
  jobs = [
    job._replace(
      config=dataclasses.replace(
        job.config, optim=dataclasses.replace(job.config.optim, epochs=1000)
      )
    )
    for job in short_jobs
  ]

  def stop(message):
    signal.raise_signal(signal.SIGINT)

  with pytest.raises(Interrupted, match="run it again to go on"):
    quickstart.run_jobs(
      jobs, tmp_path, experiment="stop", data_dir=digits_dir, fresh=False, report=stop
    )
  saved = [p for p in tmp_path.glob("*/checkpoints/*") if p.name.isdigit()]
  assert saved
  assert all(int(path.name) < 12_500 for path in saved)
