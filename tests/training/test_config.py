import dataclasses

import pytest

from isomax_jax.training import (
  Acet,
  DataConfig,
  ModelConfig,
  OptimConfig,
  OutlierExposure,
  RunConfig,
  TrainConfig,
  create_objective_config,
  differences,
  from_json,
  to_json,
)


def test_json_and_back():
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0-7"),
    objective=OutlierExposure(outliers="letters"),
    optim=OptimConfig(milestones=(0.5,)),
    seed=3,
  )
  assert from_json(to_json(config)) == config


@pytest.mark.parametrize(
  ("head", "scale"), [("softmax", 1.0), ("isomax", 10.0), ("isomax_plus", 10.0), ("dismax", 10.0)]
)
def test_the_entropic_scale_is_the_heads_own_unless_given(head, scale):
  assert ModelConfig(head=head).entropic_scale == scale
  assert ModelConfig(head=head, entropic_scale=3.0).entropic_scale == 3.0


def test_a_config_of_before_objectives_is_a_classifiers():
  values = to_json(TrainConfig())
  del values["objective"]
  assert from_json(values) == TrainConfig()


def test_a_config_of_before_zero_init_residual_starts_as_it_did():
  config = TrainConfig(model=ModelConfig(name="resnet34"))
  values = to_json(config)
  assert values["model"].pop("zero_init_residual") is False
  assert from_json(values) == config


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: ModelConfig(name="vgg"), "unknown model.name 'vgg'; known: densenet_bc_100, resnet34"),
    (lambda: ModelConfig(head="relu"), "unknown model.head 'relu'; known: dismax, isomax"),
    (lambda: ModelConfig(dtype="int8"), "unknown model.dtype 'int8'"),
    (lambda: ModelConfig(entropic_scale=0.0), "model.entropic_scale must be a positive"),
    (
      lambda: ModelConfig(name="densenet_bc_100", zero_init_residual=True),
      "^model.zero_init_residual needs residual blocks that end in BatchNorm, as resnet34 and "
      "resnet_small have, got densenet_bc_100$",
    ),
    (
      lambda: from_json({"model": {"name": "resnet34", "zero_init_residual": 1}}),
      "model.zero_init_residual must be bool, got 1",
    ),
    (lambda: DataConfig(validation=1.0), r"data.validation must be in \[0, 1\), got 1.0"),
    (lambda: DataConfig(crop_padding=-1), "data.crop_padding must not be negative, got -1"),
    (
      lambda: create_objective_config("oe"),
      "unknown objective.name 'oe'; known: acet, classification, fractional_probability, outlier",
    ),
    (
      lambda: create_objective_config("outlier_exposure"),
      "objective.outliers must name a set for outlier_exposure, got None",
    ),
    (
      lambda: create_objective_config(options={"outliers": "letters"}),
      "objective.outliers is an option of outlier_exposure, got 'letters' with classification",
    ),
    (
      lambda: create_objective_config("outlier_exposure", {"outliers": "letters", "steps": 5}),
      "objective.steps is an option of acet, got 5 with outlier_exposure",
    ),
    (
      lambda: OutlierExposure(outliers="letters", outlier_weight=0.0),
      "objective.outlier_weight must be a positive",
    ),
    (lambda: Acet(epsilon=-1), "objective.epsilon must be a positive"),
    (lambda: Acet(steps=2.5), "objective.steps must be a positive integer"),
    (lambda: OptimConfig(epochs=0), "optim.epochs must be a positive"),
    (lambda: OptimConfig(learning_rate=float("nan")), "optim.learning_rate must be a positive"),
    (lambda: OptimConfig(momentum=1.0), r"optim.momentum must be in \[0, 1\), got 1.0"),
    (
      lambda: OptimConfig(weight_decay=-0.1),
      "optim.weight_decay must be a finite",
    ),
    (lambda: OptimConfig(milestones=(1.5,)), r"optim.milestones must be in \(0, 1\)"),
    (lambda: RunConfig(strategy="ring"), "unknown run.strategy 'ring'; known: auto, pmap, sharded"),
    (lambda: RunConfig(steps_per_dispatch=0), "run.steps_per_dispatch must be a positive"),
    (lambda: RunConfig(log_epochs=0), "run.log_epochs must be a positive"),
    (lambda: TrainConfig(seed=-1), "seed must be in"),
    (lambda: from_json({"model": {"depth": 3}}), "unknown options in model: depth; known: name"),
    (lambda: from_json({"speed": 3}), "unknown options in config: speed"),
    (lambda: from_json({"optim": {"milestones": 3}}), "optim holds a value of the wrong type"),
    (lambda: from_json({"model": 3}), "model must be an object, got 3"),
    (lambda: from_json({"seed": 1.5}), "config.seed must be int, got 1.5"),
    (lambda: from_json({"data": {"name": 5}}), "data.name must be str, got 5"),
    (lambda: from_json({"data": {"flip": "no"}}), r"data.flip must be bool \| None, got 'no'"),
    (lambda: from_json({"optim": {"batch_size": 2.5}}), "optim.batch_size must be int, got 2.5"),
    (lambda: from_json({"optim": {"epochs": True}}), "optim.epochs must be int, got True"),
    (lambda: from_json({"optim": {"milestones": ""}}), "optim.milestones must be tuple"),
    (
      lambda: from_json({"optim": {"epochs": "many"}}),
      "optim.epochs must be a positive, finite number, got .many.",
    ),
  ],
)
def test_what_is_wrong_is_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_only_what_changes_the_result_is_a_difference():
  config = TrainConfig()
  same = dataclasses.replace(config, run=RunConfig(steps_per_dispatch=4, tensorboard=True))
  assert differences(config, same) == []
  other = TrainConfig(model=ModelConfig(head="softmax"), objective=Acet(steps=5), seed=1)
  assert differences(config, other) == [
    "model.head: 'isomax' != 'softmax'",
    "model.entropic_scale: 10.0 != 1.0",
    "objective.name: 'classification' != 'acet'",
    "seed: 0 != 1",
  ]
  other = dataclasses.replace(config, objective=Acet())
  assert differences(other, dataclasses.replace(config, objective=Acet(steps=5))) == [
    "objective.steps: 40 != 5"
  ]
