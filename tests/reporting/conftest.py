"""Run directories made up from a seed: everything that training and evaluation write."""

import json

import numpy as np
import pytest
from sklearn import metrics

from isomax_jax.evaluation.calibration import calibration_to_json, measure_calibration
from isomax_jax.reporting.records import Record, append_records

OWN = {"softmax": "maximum_probability", "isomax": "entropic_score"}


def write_run(
  path, *, head="isomax", in_set="mnist_5k:0-7", near="mnist_5k:8,9", seed=0, epochs=4, number=0,
  objective=None, zero_init_residual=None,
):  # fmt: skip
  rng = np.random.default_rng([number, seed, len(head)])
  path.mkdir(parents=True)

  def write_json(name, value):
    (path / name).write_text(json.dumps(value))

  write_json(
    "config.json",
    {
      "data": {"name": in_set, "validation": 0.1},
      "model": {
        "name": "small_cnn",
        "head": head,
        "entropic_scale": 10.0,
        **({} if zero_init_residual is None else {"zero_init_residual": zero_init_residual}),
      },
      "optim": {"epochs": epochs, "learning_rate": 0.1},
      "run": {"log_epochs": number},
      "seed": seed,
      **({"objective": {"name": objective}} if objective else {}),  # As before there were any.
    },
  )
  write_json(
    "environment.json",
    {"versions": {"jax": "9.8.7"}, "device": "one toaster", "git_commit": "0123456789abcdef"},
  )
  lines = [
    {"step": epoch, "epoch": float(epoch), "split": split, "loss": 2.0**-epoch,
     "accuracy": 1 - 0.5**epoch, "entropy": 1.0 + 1 / epoch}
    for epoch in range(1, epochs + 1)
    for split in ("train", "validation")
  ]  # fmt: skip
  (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

  sizes = {"test": 60, "validation": 20, near: 40, "letters": 30}
  scores = {
    f"{detector}|{name}": rng.normal(2.0 * (name in ("test", "validation")), 1, size)
    for detector in ("maximum_probability", "entropic_score")
    for name, size in sizes.items()
  }
  np.savez(path / "scores.npz", **scores)
  own = OWN[head]
  write_json(
    "decision.json",
    {
      "detector": own,
      "threshold": float(np.quantile(scores[f"{own}|validation"], 0.05)),
      "tpr": 0.95,
      "temperature": 0.75,
      "examples": 20,
      "class_names": [f"digit {digit}" for digit in range(8)],
    },
  )
  labels = rng.integers(0, 8, 60)
  logits = rng.normal(0, 1, (60, 8)) + 2 * np.eye(8)[labels]
  calibration = measure_calibration(logits, labels, temperature=0.75)
  write_json("calibration.json", calibration_to_json(calibration))
  examples = {}
  for name in ("test", near, "letters"):
    ranked = np.sort(scores[f"{own}|{name}"])
    for end, values in (("highest", ranked[::-1][:3]), ("lowest", ranked[:3])):
      examples[f"{name}|{end}"] = rng.integers(0, 256, (3, 6, 5, 1), dtype=np.uint8)
      examples[f"{name}|{end}|scores"] = values
  np.savez(path / "examples.npz", **examples)

  shared = {
    "experiment": path.name, "model": "small_cnn", "head": head, "entropic_scale": 10.0,
    "in_set": in_set, "seed": seed, "epochs": epochs, "n_in": 60, "device": "one toaster",
    "objective": objective or "classification",
    "versions": {"jax": "9.8.7"}, "git_commit": None, "wall_time": 0.5, "time": "2026-01-31",
  }  # fmt: skip
  records = [Record(metric="accuracy", value=0.9 + rng.uniform() / 10, **shared)]
  records += [
    Record(metric=f"{kind}negative_log_likelihood", value=rng.uniform(), **shared)
    for kind in ("", "calibrated_")
  ]
  records += [
    Record(
      metric="calibrated_expected_calibration_error",
      value=calibration.after.calibration_error,
      **shared,
    )
  ]
  for detector in OWN.values():
    for name in (near, "letters"):
      known, unknown = scores[f"{detector}|test"], scores[f"{detector}|{name}"]
      auroc = metrics.roc_auc_score([1] * len(known) + [0] * len(unknown), [*known, *unknown])
      values = {"auroc": auroc, "tnr_at_tpr": rng.uniform(), "fpr_at_tpr": rng.uniform()}
      records += [
        Record(detector=detector, out_set=name, metric=m, value=v, n_out=len(unknown), **shared)
        for m, v in values.items()
      ]
  append_records(path / "records.jsonl", records)
  return path


@pytest.fixture(scope="session")
def make_run():
  """Return the function that makes up a run directory."""
  return write_run


@pytest.fixture
def run_dir(tmp_path):
  return write_run(tmp_path / "run")


@pytest.fixture(scope="session")
def pair_dirs(tmp_path_factory):
  """SoftMax and IsoMax on two splits."""
  folder = tmp_path_factory.mktemp("runs")
  splits = (("mnist_5k:0-7", "mnist_5k:8,9"), ("mnist_5k:2-9", "mnist_5k:0,1"))
  return [
    write_run(folder / f"{head}{i}", head=head, in_set=in_set, near=near, number=i)
    for head in ("isomax", "softmax")
    for i, (in_set, near) in enumerate(splits)
  ]
