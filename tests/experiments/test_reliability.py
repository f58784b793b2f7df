import random
import shutil

import pytest

from experiments import reliability
from experiments.reliability import DAMAGES, FAULTS, Try, faults_table


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  return reliability.Study(tmp_path_factory.mktemp("reliability"))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("fault", "outcome", "lost"),
  [
    ("killed while it saves", "goes on", range(0, 2 * reliability.INTERVAL + 1)),
    ("every checkpoint damaged", "refused: no checkpoint in RUN/checkpoints is undamaged", [0]),
    ("started again with another head", "refused: RUN holds a run of another config", [0]),
  ],
)
def test_a_fault_is_survived(study, fault, outcome, lost):
  said, steps, equal = FAULTS[fault][1](study, random.Random(0))
  assert said.startswith(outcome)
  assert steps in lost
  assert equal is (None if outcome.startswith("refused") else True)


@pytest.mark.slow
def test_damage_is_seen_and_costs_an_interval(study):
  said, steps, equal = reliability.damage_last(
    study, random.Random(0), damage=DAMAGES["with a flipped bit"], file=0
  )
  assert said == "says so and sets it aside; goes on from the one before"
  assert 1 <= steps <= reliability.INTERVAL + 1
  assert equal


@pytest.mark.slow
@pytest.mark.parametrize("change", ["nothing", "a number of the log", "the state"])
def test_what_differs_is_seen(study, change):
  run = study.new("run")
  shutil.copytree(study.undisturbed.directory, run.directory)
  if change == "a number of the log":
    log = run.directory / "metrics.jsonl"
    log.write_text(log.read_text().replace('"loss": 0.', '"loss": 1.', 1))
  if change == "the state":
    last = run.checkpoints / str(reliability.STEPS)
    shutil.rmtree(last)
    shutil.copytree(study.stopped.checkpoints / str(study.stopped.whole()[-1]), last)
  assert run.equals(study.undisturbed) == (change == "nothing")


def test_the_table_counts():
  tries = [
    Try(fault="killed", number=n, outcome=outcome, steps_lost=lost, equal=equal)
    for n, (outcome, lost, equal) in enumerate([("goes on", 4, True), ("fails", 9, False)])
  ]
  tries.append(Try(fault="refused", number=0, outcome="says so", steps_lost=0, equal=None))
  assert faults_table(tries).splitlines()[2:] == [
    "| killed | 2 | goes on (1)<br>fails (1) | 4–9 | 1 of 2 |",
    "| refused | 1 | says so | 0 | – |",
  ]
