import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import runner, short_cifar, table1
from isomax_jax import metrics
from isomax_jax.cli.main import main
from isomax_jax.detectors import DETECTORS, create_detector
from isomax_jax.reporting import append_records, read_records
from isomax_jax.training.interruption import listen
from isomax_jax.typing import Outputs

OUT_SETS = ("letters", "photos")
CELLS = short_cifar.make_cells("small_cnn", "mnist_5k", OUT_SETS)


def get_config(cell):
  """Return the paper's training in float32, which is faster on a CPU."""
  config = short_cifar.get_config(cell)
  return dataclasses.replace(config, model=dataclasses.replace(config.model, dtype="float32"))


TINY = short_cifar.EXPERIMENT._replace(cells=CELLS, get_config=get_config, epochs=2)
NAME = "mnist_5k-small_cnn-isomax-es10-2epochs-seed0"
FREE = {name for name, entry in DETECTORS.items() if entry.is_free}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run(workdir, digits_dir, cells=CELLS):
  runner.run(TINY, cells, (0,), workdir=workdir, data_dir=digits_dir)


@pytest.fixture
def here(monkeypatch):
  """Run jobs in this process and on one device: nothing starts, and programs are small."""

  def run_here(run, jobs, *, report):
    with listen() as interruption, jax.default_device(jax.devices()[0]):
      return [run(job, report=report, interruption=interruption) for job in jobs]

  monkeypatch.setattr(runner, "run_jobs", run_here)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits_dir):
  """A run that the command line trained and evaluated; not to be changed."""
  run_dir = tmp_path_factory.mktemp("elsewhere") / NAME
  train = "--data mnist_5k --model small_cnn --head isomax --epochs 2"
  train += " --data.validation 0 --run.checkpoints-kept 1"
  for words in (
    ["train", *train.split(), "--workdir", run_dir],
    ["evaluate", run_dir, "--out", *OUT_SETS],
  ):
    with pytest.raises(SystemExit) as stop, jax.default_device(jax.devices()[0]):
      main([*map(str, words), "--data-dir", str(digits_dir)])
    assert stop.value.code == 0
  return run_dir


@pytest.fixture(scope="module")
def sent_back(trained, tmp_path_factory):
  """What comes back of it from where there is no checkout; not to be changed."""
  run_dir = tmp_path_factory.mktemp("sent_back") / "run"
  shutil.copytree(trained, run_dir, ignore=shutil.ignore_patterns("checkpoints"))
  change_records(run_dir, lambda record: {"git_commit": None})
  (run_dir / "commit.txt").write_text(COMMIT + "\n")
  return run_dir


def change_records(run_dir, change):
  """Change fields of a run's records."""
  path = run_dir / "records.jsonl"
  records = [dataclasses.replace(r, **change(r)) for r in read_records(path)]
  path.unlink()
  append_records(path, records)


def drop_records(run_dir, dropped):
  """Drop some of a run's records."""
  path = run_dir / "records.jsonl"
  records = [r for r in read_records(path) if not dropped(r)]
  path.unlink()
  append_records(path, records)


def change_config(run_dir, section, **options):
  config = json.loads((run_dir / "config.json").read_text())
  (config if section is None else config[section]).update(options)
  (run_dir / "config.json").write_text(json.dumps(config))


@pytest.fixture
def run_dir(sent_back, tmp_path):
  """A copy of what came back, to be changed."""
  return shutil.copytree(sent_back, tmp_path / "copy")


def test_cells_are_the_networks_sets_heads_and_scores():
  assert len(short_cifar.CELLS) == 2 * 2 * 2 * (1 + 6 * 3)
  assert short_cifar.CELLS[0].name == "resnet34/cifar10/softmax"
  assert len({short_cifar.EXPERIMENT.training(cell, 0) for cell in short_cifar.CELLS}) == 8
  assert {c.out_set for c in short_cifar.CELLS if c.in_set == "cifar100"} == {
    None, "cifar10", "tiny_imagenet_resize/nearest", "tiny_imagenet_resize/antialiased"
  }  # fmt: skip


@pytest.mark.slow
def test_scores_are_all_that_need_nothing_but_logits():
  of_logits = set()
  for name in DETECTORS:
    try:
      detector = create_detector(name)
      params = detector.fit(None, None)
      detector.score(params, None, None, Outputs(jnp.array([[0.0, 1.0]]), features=None))
    except (AttributeError, TypeError, ValueError):
      continue
    of_logits.add(name)
  assert set(short_cifar.DETECTORS) == of_logits == FREE


def test_trainings_are_the_papers_but_for_the_epochs():
  for cell in short_cifar.CELLS:
    whole, short = table1.get_config(cell), short_cifar.EXPERIMENT.training(cell, 3)
    assert short.optim == dataclasses.replace(whole.optim, epochs=60)
    assert short == dataclasses.replace(whole, optim=short.optim, seed=3)
  longer = short_cifar.EXPERIMENT._replace(epochs=299).training(short_cifar.CELLS[0], 0)
  assert longer.optim.epochs == 299
  assert table1.EXPERIMENT.training(short_cifar.CELLS[0], 1).optim.epochs == 300


@pytest.mark.parametrize("epochs", [0, 300, 301])
def test_epochs_that_do_not_shorten_are_refused(epochs, tmp_path, capsys):
  words = ["--epochs", str(epochs), "--workdir", str(tmp_path), "--list"]
  with pytest.raises(SystemExit) as stop:
    runner.main(short_cifar.EXPERIMENT, "", words)
  assert stop.value.code == 1
  expected = f"epochs must be from 1 to 299, fewer than the whole training has, got {epochs}\n"
  assert capsys.readouterr().err.endswith(expected)


def test_whole_trainings_have_no_epochs_to_choose(capsys):
  with pytest.raises(SystemExit) as stop:
    runner.main(table1.EXPERIMENT, "", ["--epochs", "60", "--list"])
  assert stop.value.code == 2
  assert "Unrecognized options: --epochs" in capsys.readouterr().err


@pytest.mark.slow
def test_records_name_the_epochs_and_nothing_is_done_twice(trained, tmp_path, digits_dir, here):
  shutil.copytree(trained, tmp_path / "runs" / NAME)
  cells = [cell for cell in CELLS if cell.head == "isomax"]
  cells = [cell for cell in cells if cell.detector in (None, "entropic_score", "gen")]
  run(tmp_path, digits_dir, cells[:3])  # GEN's come later.
  run(tmp_path, digits_dir, cells)
  records = read_records(tmp_path / "short_cifar.jsonl")
  assert {(r.experiment, r.epochs, r.n_in) for r in records} == {("short_cifar", 2, 3500)}
  assert {(r.detector, r.out_set) for r in records} == {(c.detector, c.out_set) for c in cells}
  (path,) = (tmp_path / "scores").iterdir()
  assert path.name == f"{NAME}.npz"
  with np.load(path) as scores:
    assert {scores[key].dtype for key in scores} == {np.dtype("float32")}
    for r in records:
      if r.detector:
        known, unknown = (scores[f"{r.detector}|{name}"] for name in ("test", r.out_set))
        assert r.value == getattr(metrics, r.metric)(known, unknown)
  files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
  run(tmp_path, digits_dir, cells)
  assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == files
  longer = TINY._replace(epochs=3)
  (missing,) = runner.missing_trainings(longer, cells, (0,), workdir=tmp_path)
  assert (missing.job.name.split("-")[-2], missing.cells) == ("3epochs", tuple(cells))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--list"], ["--seeds", "7"], ["--cells", "*/isomax/*"]])
def test_what_taking_would_not_heed_is_refused(words, sent_back, tmp_path, capsys):
  taking = ["--epochs", "2", "--workdir", str(tmp_path / "work"), "--take", str(sent_back)]
  with pytest.raises(SystemExit) as stop:
    runner.main(TINY, "", [*taking, *words])
  assert stop.value.code == 1
  assert "leave out --cells, --seeds and --list" in capsys.readouterr().err
  assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_run_from_elsewhere_is_taken_once(sent_back, tmp_path, capsys):
  words = ["--epochs", "2", "--workdir", str(tmp_path), "--take", str(sent_back)]
  outputs = []
  for _ in range(2):
    with pytest.raises(SystemExit) as stop:
      runner.main(TINY._replace(epochs=60), "", words)
    assert stop.value.code == 0
    outputs.append(capsys.readouterr().out)
  count = 3 + 3 * len(FREE) * len(OUT_SETS)
  assert f"{NAME}: {count} numbers added, 0 were there\n" in outputs[0]
  assert f"{NAME}: 0 numbers added, {count} were there\n" in outputs[1]
  records = read_records(tmp_path / "short_cifar.jsonl")
  sent = {(r.detector, r.out_set, r.metric): r for r in read_records(sent_back / "records.jsonl")}
  assert len(records) == count
  for r in records:
    ours = {"experiment": "short_cifar", "git_commit": COMMIT}
    assert r == dataclasses.replace(sent[r.detector, r.out_set, r.metric], **ours)
  with (
    np.load(tmp_path / "scores" / f"{NAME}.npz") as kept,
    np.load(sent_back / "scores.npz") as scores,
  ):
    assert set(kept) == set(scores)
    assert all(np.array_equal(kept[key], scores[key]) for key in scores)
  assert str(sent_back) in (tmp_path / "elsewhere" / f"{NAME}.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["short_cifar", "another"])
def test_a_network_from_elsewhere_is_not_trained_a_second_time(
  name, run_dir, tmp_path, digits_dir, here, capsys
):
  """What was not measured of it would be of another network, for all experiments that share it."""
  drop_records(run_dir, lambda r: r.detector == "gen")
  runner.take_runs(TINY, [run_dir], workdir=tmp_path / "work")
  before = (tmp_path / "work" / "short_cifar.jsonl").read_bytes()
  words = ["--cells", "*/isomax*", "--seeds", "0", "--epochs", "2"]
  words += ["--workdir", str(tmp_path / "work"), "--data-dir", str(digits_dir)]
  with pytest.raises(SystemExit):
    runner.main(TINY._replace(name=name), "", words)
  assert f"left out is what {NAME} lacks" in capsys.readouterr().out
  assert (tmp_path / "work" / "short_cifar.jsonl").read_bytes() == before
  assert not (tmp_path / "work" / "runs").exists()


@pytest.mark.slow
def test_the_list_says_what_is_elsewhere(run_dir, tmp_path, digits_dir):
  drop_records(run_dir, lambda r: r.detector == "gen")
  runner.take_runs(TINY, [run_dir], workdir=tmp_path)
  lines = list(runner.list_cells(TINY, CELLS, (0, 1), workdir=tmp_path, data_dir=digits_dir))
  states = {cell.name: lines[i].split()[1:] for i, cell in enumerate(CELLS)}
  assert states["small_cnn/mnist_5k/isomax+energy/letters"] == ["0", "-"]
  assert states["small_cnn/mnist_5k/isomax+gen/letters"] == ["-", "-"]
  assert states["small_cnn/mnist_5k/softmax"] == ["-", "-"]
  assert lines[-2].startswith(f"what {NAME} lacks is not")
  assert lines[-1].startswith(f"{len(CELLS)} cells, 2 epochs, seeds 0 1;")
  assert lines[-1].endswith("takes 3 trainings")


REFUSED = {
  "other validation": (
    lambda path: change_config(path, "data", validation=0.1),
    "trained otherwise than short_cifar: data.validation: 0.1 != 0",
  ),
  "other epochs": (
    lambda path: change_config(path, "optim", epochs=3),
    "trained otherwise than short_cifar: optim.epochs: 3 != 2",
  ),
  "other dtype": (
    lambda path: change_config(path, "model", dtype="bfloat16"),
    "trained otherwise than short_cifar: model.dtype: 'bfloat16' != 'float32'",
  ),
  "foreign model": (
    lambda path: change_config(path, "model", name="resnet_small"),
    "trained otherwise than short_cifar: model.name: 'resnet_small' != 'small_cnn'",
  ),
  "unfinished": (
    lambda path: (path / "metrics.jsonl").write_text(
      (path / "metrics.jsonl").read_text().splitlines()[0] + "\n"
    ),
    "trained for 23 steps, expected 47 of 1500 images",
  ),
  "not evaluated": (
    lambda path: (path / "records.jsonl").unlink(),
    "records.jsonl has no numbers to take: evaluate the run",
  ),
  "records of another seed": (
    lambda path: change_records(path, lambda r: {"seed": 1}),
    "a record is of no cell of short_cifar: seed 1",
  ),
  "unknown detector": (
    lambda path: change_records(path, lambda r: {"detector": r.detector and "knn"}),
    "a record is of no cell of short_cifar: detector 'knn'",
  ),
  "other set": (
    lambda path: change_records(path, lambda r: {"out_set": r.out_set and "mnist_5k:0"}),
    "a record is of no cell of short_cifar: out_set 'mnist_5k:0'",
  ),
  "fewer images": (
    lambda path: change_records(path, lambda r: {"n_in": 100}),
    "must be of 3500 known and 0 unknown images, got 100 and 0",
  ),
  "another value": (
    lambda path: change_records(path, lambda r: {"value": r.value + (r.metric == "auroc") * 1e-6}),
    "auroc of energy on letters is ",
  ),
  "an unfinished training's": (
    lambda path: change_records(path, lambda r: {"epochs": 0.98}),
    "a record is of no cell of short_cifar: epochs 0.98",
  ),
  "cut short": (
    lambda path: drop_records(path, lambda r: (r.detector, r.metric) == ("mmles", "auroc")),
    "records of mmles on letters must be tnr_at_tpr, auroc, detection_accuracy, each once, got ",
  ),
  "no accuracy": (
    lambda path: drop_records(path, lambda r: r.detector is None),
    "records of the known set must be accuracy, negative_log_likelihood, ",
  ),
  "chosen options": (
    lambda path: change_records(path, lambda r: {"options": {"top": 3}} if r.detector else {}),
    "must have its default options, got {'top': 3}",
  ),
  "no commit": (
    lambda path: (path / "commit.txt").unlink(),
    "must name one commit of the code, in 7 to 40 hexadecimal digits and nothing else, got none",
  ),
  "changed code": (
    lambda path: (path / "commit.txt").write_text(f"{COMMIT}\n M isomax_jax/scores.py\n"),
    rf"got '{COMMIT}\n M isomax_jax/scores.py'",
  ),
  "two commits": (
    lambda path: change_records(path, lambda r: {"git_commit": "f" * 40}),
    f"got '{COMMIT}', '{'f' * 40}'",
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_a_run_that_is_something_else_is_refused_in_one_line(case, run_dir, tmp_path, capsys):
  change, message = REFUSED[case]
  change(run_dir)
  with pytest.raises(SystemExit) as stop:
    runner.main(
      TINY, "", ["--epochs", "2", "--workdir", str(tmp_path / "work"), "--take", str(run_dir)]
    )
  assert stop.value.code == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"python -m experiments.short_cifar: {run_dir}: ")
  assert message in line
  assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_second_network_of_the_same_name_is_refused(sent_back, run_dir, tmp_path):
  runner.take_runs(TINY, [sent_back], workdir=tmp_path)
  before = (tmp_path / "short_cifar.jsonl").read_bytes()
  change_records(run_dir, lambda r: {"value": r.value / 2} if r.metric == "accuracy" else {})
  with pytest.raises(ValueError, match=r"copy: accuracy is .*, but .* measured before"):
    runner.take_runs(TINY, [run_dir], workdir=tmp_path)
  assert (tmp_path / "short_cifar.jsonl").read_bytes() == before
  own = tmp_path / "work" / "runs" / NAME
  own.mkdir(parents=True)
  with pytest.raises(ValueError, match="a network of the same name is in"):
    runner.take_runs(TINY, [sent_back], workdir=tmp_path / "work")


@pytest.mark.slow
def test_the_log_of_a_run_is_taken_where_it_is_kept(sent_back, tmp_path):
  runner.take_runs(TINY._replace(keep_log=True), [sent_back], workdir=tmp_path)
  lines = [json.loads(line) for line in (sent_back / "metrics.jsonl").read_text().splitlines()]
  losses = [
    (r.value, r.experiment, r.git_commit)
    for r in read_records(tmp_path / "short_cifar.jsonl")
    if r.metric == "training_loss"
  ]
  assert [line["step"] for line in lines] == [23, 46, 47]
  assert losses == [(line["loss"], "short_cifar", COMMIT) for line in lines[:2]]
