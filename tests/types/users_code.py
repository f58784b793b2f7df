"""What a user of the library writes, for ``make lint`` to type-check and a test to run.

A line that is refused says so by the rule that refuses it, and where the rule is no longer broken
that is an error too: an argument of the wrong kind has to stay one.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=error

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, assert_type

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.tree_util import Partial

from isomax_jax import decision, detectors, heads, losses, metrics, runs, scores
from isomax_jax.detectors import DETECTORS, Batches, Classifier, Detector, DetectorEntry, toolkit
from isomax_jax.evaluation.measure import Measured, make_score, measure
from isomax_jax.evaluation.predict import forward, predict
from isomax_jax.heads import HEADS, HeadEntry
from isomax_jax.heads import nnx as nnx_heads
from isomax_jax.models import create_model
from isomax_jax.reporting import Record, Results, Summary, read_records, read_results, summarize
from isomax_jax.training import (
  OBJECTIVES,
  DataConfig,
  Losses,
  ModelConfig,
  Network,
  Objective,
  ObjectiveConfig,
  OptimConfig,
  RunConfig,
  TrainConfig,
  classification,
  create_state,
  train_step,
)
from isomax_jax.typing import Batch, Features, Logits, Outputs, Preprocessing

FEATURES = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
LABELS = np.arange(8) % 3
PROTOTYPES = np.eye(3, 4, dtype=np.float32)


def own_loop() -> jax.Array:
  """Train prototypes with optax on batches of NumPy."""

  def loss(params: dict[str, jax.Array], features: np.ndarray, labels: np.ndarray) -> jax.Array:
    logits = losses.isomax_plus_logits(features, params["prototypes"], params["scale"])
    return losses.scaled_cross_entropy(logits, labels, entropic_scale=10).mean()

  params = {"prototypes": jnp.asarray(PROTOTYPES), "scale": jnp.ones(())}
  optimizer = optax.sgd(0.1, momentum=0.9)
  state = optimizer.init(params)

  @jax.jit
  def step(params: Any, state: optax.OptState, features: Any, labels: Any) -> Any:
    value, gradient = jax.value_and_grad(loss)(params, features, labels)
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value

  params, state, _ = step(params, state, FEATURES, LABELS)
  return step(params, state, FEATURES, LABELS.astype(np.uint8))[-1]


def losses_and_scores() -> None:
  """Call them with arrays of NumPy and of JAX, and transform them."""
  distances = assert_type(losses.pairwise_distance(FEATURES, PROTOTYPES), jax.Array)
  logits = losses.isomax_logits(jnp.asarray(FEATURES), PROTOTYPES)
  np.testing.assert_array_equal(logits, -distances)
  losses.isomax_plus_logits(FEATURES, PROTOTYPES, 1)
  losses.dismax_logits(FEATURES, PROTOTYPES, np.float32(0.5))
  assert_type(losses.scaled_cross_entropy(np.asarray(logits), LABELS), jax.Array)
  losses.scaled_cross_entropy(logits[0], 2, entropic_scale=jnp.ones(()))
  losses.scaled_divergence(logits, np.full((8, 3), 1 / 3, np.float32), entropic_scale=1.0)
  losses.outlier_exposure(np.asarray(logits), entropic_scale=np.float64(10))
  for score in (scores.maximum_probability, scores.entropic_score, scores.mmles, scores.max_logit):
    assert_type(score(np.asarray(logits)), jax.Array).block_until_ready()
    jax.jit(score)(np.asarray(logits))
    assert_type(jax.vmap(score)(logits), jax.Array)
  scores.energy(np.asarray(logits), temperature=2)
  jax.grad(lambda x: scores.energy(x, temperature=jnp.ones(())).sum())(logits)
  scores.log_odds(logits[0])


def linen_and_nnx() -> None:
  """Put a head on features in both of Flax's frameworks."""
  head = heads.IsoMaxHead(num_classes=3)
  variables = head.init(jax.random.key(0), FEATURES)
  logits = head.apply(variables, FEATURES)
  losses.scaled_cross_entropy(jnp.asarray(logits), LABELS)
  for make in (nnx_heads.SoftmaxHead, nnx_heads.IsoMaxPlusHead, nnx_heads.DisMaxHead):
    assert_type(make(4, 3, rngs=nnx.Rngs(0))(FEATURES), jax.Array)


class OwnNetwork(nn.Module):
  """A network of one's own around a head of the library."""

  @nn.compact
  def __call__(self, images: jax.Array) -> Outputs[jax.Array]:
    features = nn.Dense(4)(images.reshape(len(images), -1))
    return Outputs(heads.SoftmaxHead(num_classes=3, name="head")(features), features)


def own_classifier() -> tuple[Classifier, np.ndarray]:
  """Make a classifier of a network of one's own, and images for it."""
  images = np.random.default_rng(1).uniform(size=(8, 2, 2, 3)).astype(np.float32)
  network = OwnNetwork()
  variables = network.init(jax.random.key(0), images)

  def outputs(images: jax.Array) -> Outputs[jax.Array]:
    found = network.apply(variables, images)
    assert isinstance(found, Outputs)
    return found

  def head(params: Any, features: jax.Array) -> jax.Array:
    return jnp.asarray(heads.SoftmaxHead(num_classes=3).apply({"params": params}, features))

  return Classifier(outputs, head, variables["params"]["head"]), images


def detectors_and_evaluation() -> Measured:
  """Fit and score detectors, by hand and by ``measure``."""
  classifier, images = own_classifier()
  outputs = classifier.outputs(jnp.asarray(images))
  on_host = Outputs(np.asarray(outputs.logits), np.asarray(outputs.features))
  batches = [(images, LABELS, on_host)]
  detector = detectors.knn(k=2)
  params = detector.fit(classifier, batches)
  found = assert_type(detector.score(params, classifier, images, on_host), jax.Array)
  jax.jit(lambda x: detector.score(params, classifier, x, classifier.outputs(x)))(images)
  detectors.odin_score(classifier, images, temperature=np.float32(10), epsilon=0.01)
  attacked = detectors.fgsm(classifier, images, LABELS, epsilon=0)
  detectors.linear_head(classifier, detector="mine")
  stages = detectors.mahalanobis().fit(classifier, batches)
  of_stages = detectors.stage_scores(stages, classifier, images, on_host)
  weights = detectors.fit_stage_weights(of_stages, np.asarray(of_stages) - 1)
  detectors.mahalanobis(weights=np.array(weights))
  toolkit.gradient_sign(lambda x: x.sum((1, 2, 3)), images)
  threshold = decision.choose_threshold(found, tpr=0.9)
  assert decision.is_known(np.asarray(found), np.float32(threshold)).dtype == bool
  assert decision.is_known(np.asarray(found), threshold).mean() >= 0.9
  as_tree = Classifier(Partial(classifier.outputs), Partial(classifier.head), {})
  predict(forward, as_tree, images)
  make_score(detector).lower((params, None), (images, on_host))
  unknown = {"attacked": (attacked, [0] * 8), "noise": (1 - images, LABELS)}
  all_of_them = {name: detectors.create_detector(name) for name in ("energy", "vim", "react")}
  return measure(classifier, (images, LABELS), unknown, all_of_them, training=batches)


def metrics_of_numpy() -> None:
  """Compute metrics of what any framework gave."""
  known, unknown = FEATURES[:, 0], jnp.asarray(FEATURES[:, 1])
  assert_type(metrics.auroc(known, unknown), float)
  metrics.detection_metrics([3.0, 2.0], known, tpr=0.9)["aupr_in"]
  assert_type(metrics.fpr_at_tpr(list(known), unknown), float)
  metrics.accuracy(FEATURES, LABELS)
  found = metrics.reliability(FEATURES.tolist(), LABELS.tolist(), bins=3)
  assert_type(found.calibration_error, float)
  metrics.fit_temperature(jnp.asarray(FEATURES), LABELS)


class CosineHead(nn.Module):
  """A head of one's own."""

  num_classes: int

  @nn.compact
  def __call__(self, features: Features) -> Logits:
    weights = self.param("weights", nn.initializers.normal(1.0), (4, self.num_classes))
    return features @ weights


def weighted_energy(*, weight: float = 1.0) -> Detector:
  """Make a detector of one's own."""

  def fit(classifier: Classifier, batches: Batches) -> jax.Array:
    largest: Iterator[float] = (
      batch.logits.max() for batch in toolkit.training_batches(batches, detector="weighted_energy")
    )
    return jnp.array(weight * max(largest))

  def score(
    params: jax.Array, classifier: Classifier, images: jax.Array, outputs: Outputs[jax.Array]
  ) -> jax.Array:
    return params * scores.energy(toolkit.floating("logits", outputs.logits))

  return Detector(fit, score)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedObjective(ObjectiveConfig):
  """An objective of one's own, with outliers."""

  name: ClassVar[str] = "paired"
  label: ClassVar[str] = "paired"
  rows: ClassVar[int] = 2

  outliers: str | None = "letters"
  """Set of the outliers."""
  pairing: float = 0.5
  """Weight of their loss."""

  def make(self, preprocessing: Preprocessing, *, entropic_scale: float) -> Objective:
    """Make the objective."""

    def objective(network: Network, key: jax.Array, batch: Batch[jax.Array]) -> Losses:
      outputs, batch_stats = network.train(preprocessing.prepare(key, batch))
      values = losses.scaled_cross_entropy(
        outputs.logits, batch.labels, entropic_scale=entropic_scale
      )
      if batch.outliers is not None:
        others = network.infer(preprocessing.normalize(preprocessing.to_pixels(batch.outliers)))
        values += self.pairing * losses.outlier_exposure(others.logits).mean()
      return Losses(values, outputs.logits, batch.labels, batch_stats)

    return objective


def register() -> None:
  """Add a head, a detector and an objective."""
  HEADS.register(
    HeadEntry(name="cosine", linen=CosineHead, label="Cosine", entropic_scale=10, detector="energy")
  )
  DETECTORS.register(
    DetectorEntry("weighted_energy", weighted_energy, "energy", ("pixels",), fit_on="training")
  )
  OBJECTIVES.register(PairedObjective)
  config = TrainConfig(model=ModelConfig(head="cosine"), objective=PairedObjective(pairing=1))
  assert config.objective.outliers == "letters"
  assert assert_type(config.model.training_scale, float) == 10
  assert DETECTORS["weighted_energy"].needs == ("pixels",)


def own_training_step() -> float:
  """Take a step of training with a network of the library on arrays of one's own."""
  model = create_model("small_cnn", num_classes=3, dtype=jnp.float32)
  state = create_state(model, optax.adam(1e-3), jax.random.key(0), (8, 8, 1))
  objective = classification(lambda key, batch: batch.images / 255, entropic_scale=10.0)
  step = jax.jit(partial(train_step, objective=objective))
  batch = Batch(np.ones((4, 8, 8, 1), np.uint8), labels=np.arange(4) % 3, positions=np.arange(4))
  state, found = step(state, batch, jax.random.key(1))
  return float(found["loss"])


def train_and_evaluate(workdir: Path) -> list[Record]:
  """Train into a directory and measure; type-checked only, since it takes its time."""
  config = TrainConfig(
    data=DataConfig(name="mnist_5k:0-7", validation=0.2),
    model=ModelConfig(head="isomax", entropic_scale=5),
    optim=OptimConfig(epochs=2, milestones=(0.5,), select="best"),
    run=RunConfig(strategy="sharded", checkpoint_minutes=None),
    seed=1,
  )
  runs.train(config, workdir, fresh=True)
  runs.train_seeds(config, [0, 1], str(workdir))
  measured, records = runs.measure_run(
    runs.load(workdir, epoch=1),
    out_sets=["letters"],
    experiment="mine",
    tuning=runs.Tuning(on="adversarial"),
  )
  assert_type(measured.scores["energy|letters"], np.ndarray)
  return runs.evaluate(workdir, out_sets=("letters", "photos")) + records


def read_a_run(run_dir: Path, image: Path) -> dict[tuple[Any, ...], Summary]:
  """Load, predict and read what an evaluated run holds."""
  run = runs.load(run_dir)
  pixels = np.zeros((2, *run.known.spec.image_shape), np.float32)
  logits = assert_type(run.classifier.outputs(jnp.asarray(pixels)).logits, jax.Array)
  metrics.accuracy(logits, np.zeros(2, int))
  if run.decision is not None:
    decision.is_known(scores.entropic_score(logits), run.decision["threshold"])
  for answer in runs.predict(str(run_dir), [image, str(image)]):
    if isinstance(answer, runs.Refusal):
      print(answer.path.name, answer.reason)
    else:
      print(answer.label, f"{answer.probability:.1%}", answer.known)
  results: Results = read_results(run_dir)
  assert results.records == read_records(run_dir / "records.jsonl")
  return summarize(results.records, by=["detector", "unknown", "metric"])


def refused(logits: np.ndarray, labels: np.ndarray, classifier: Classifier, run_dir: Path) -> None:
  """Never run: every line is an error to a type checker."""
  losses.scaled_cross_entropy("logits", labels)  # pyright: ignore[reportArgumentType]
  losses.scaled_cross_entropy(3, logits)  # pyright: ignore[reportArgumentType]
  losses.scaled_cross_entropy(logits, labels, entropic_scal=1.0)  # pyright: ignore[reportCallIssue]
  losses.scaled_cross_entropy(logits, labels, 10.0)  # pyright: ignore[reportCallIssue]
  losses.scaled_cross_entropy(logits, 0.5)  # pyright: ignore[reportArgumentType]
  losses.isomax_logits(logits)  # pyright: ignore[reportCallIssue]
  losses.isomax_plus_logits(logits, logits, None)  # pyright: ignore[reportArgumentType]
  scores.energy(logits, temperature="hot")  # pyright: ignore[reportArgumentType]
  scores.entropic_score(None)  # pyright: ignore[reportArgumentType]
  heads.IsoMaxHead(classes=3)  # pyright: ignore[reportCallIssue]
  nnx_heads.IsoMaxHead(4, 3)  # pyright: ignore[reportCallIssue]
  metrics.auroc(logits)  # pyright: ignore[reportCallIssue]
  metrics.tnr_at_tpr(logits, logits, 0.9)  # pyright: ignore[reportCallIssue]
  detectors.create_detector(detectors.knn)  # pyright: ignore[reportArgumentType]
  detectors.knn(50)  # pyright: ignore[reportCallIssue]
  detectors.knn().fit([(logits, labels)], classifier)  # pyright: ignore[reportArgumentType]
  detectors.knn().score(classifier)  # pyright: ignore[reportCallIssue]
  decision.is_known(logits, None)  # pyright: ignore[reportArgumentType]
  HEADS.register(CosineHead)  # pyright: ignore[reportArgumentType]
  OBJECTIVES.register(PairedObjective())  # pyright: ignore[reportArgumentType]
  OptimConfig(select="bets")  # pyright: ignore[reportArgumentType]
  OptimConfig(5)  # pyright: ignore[reportCallIssue]
  TrainConfig(optim={"epochs": 5})  # pyright: ignore[reportArgumentType]
  runs.train("config", run_dir)  # pyright: ignore[reportArgumentType]
  runs.load(run_dir).decision["threshold"]  # pyright: ignore[reportOptionalSubscript]
  print(runs.load(run_dir).temperature)  # pyright: ignore[reportAttributeAccessIssue]
  Record(metric="auroc", value=1.0)  # pyright: ignore[reportCallIssue]
