"""The step that a config describes: what it minimises, and how it is spread over devices."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax

from isomax_jax import data
from isomax_jax.jobs.setup import Setup
from isomax_jax.training import (
  Objective,
  TrainConfig,
  adversarial_confidence,
  classification,
  exposure,
  fractional_probability,
  low_frequency_noise,
  parallel,
  train_step,
)
from isomax_jax.training.mosaics import GROUP


def _exposure(config: TrainConfig, setup: Setup) -> Objective:
  return exposure(
    setup.prepare,
    entropic_scale=config.model.entropic_scale,
    weight=config.objective.outlier_weight,
  )


def _acet(config: TrainConfig, setup: Setup) -> Objective:
  def noise(key, batch):
    return low_frequency_noise(key, batch._replace(images=data.to_pixels(batch.images)))

  return adversarial_confidence(
    setup.prepare,
    noise,
    setup.normalize,
    entropic_scale=config.model.entropic_scale,
    epsilon=config.objective.epsilon,
    steps=config.objective.steps,
  )


# From the name of an objective to what makes it. A new one is a function in
# isomax_jax.training.objectives, its options in the config, and a line here.
OBJECTIVES: Mapping[str, Callable[[TrainConfig, Setup], Objective]] = {
  "classification": lambda config, setup: classification(
    setup.prepare, entropic_scale=config.model.entropic_scale
  ),
  "fractional_probability": lambda config, setup: fractional_probability(
    setup.prepare, entropic_scale=config.model.entropic_scale
  ),
  "outlier_exposure": _exposure,
  "acet": _acet,
}
# Rows of a batch that an objective needs together.
ROWS = {"fractional_probability": GROUP}


def make_runner(
  config: TrainConfig, setup: Setup, fetch: parallel.Fetch, *, devices: Sequence[jax.Device]
) -> tuple[parallel.Runner, str | None]:
  """Spread the config's step over devices.

  Args:
    config: The config.
    setup: What follows from it.
    fetch: Function of a source and a draw to a batch.
    devices: The devices.

  Returns:
    The runner, and the axis's name, which the model needs too.

  Raises:
    ValueError: If the batch does not divide by the devices and what the step needs for each.
  """
  strategy = config.run.strategy
  if strategy == "auto":
    strategy = "pmap" if parallel.processes_of(devices) == 1 < len(devices) else "sharded"
  axis_name = parallel.AXIS if strategy == "pmap" else None
  step = partial(
    train_step,
    objective=OBJECTIVES[config.objective.name](config, setup),
    accumulate=config.optim.accumulate,
    axis_name=axis_name,
  )
  runner = parallel.make_runner(
    step,
    fetch,
    strategy=strategy,
    devices=devices,
    batch_size=config.optim.batch_size,
    multiple=config.optim.accumulate * ROWS.get(config.objective.name, 1),
  )
  return runner, axis_name


def count_steps(config: TrainConfig, epochs: float, *, examples: int) -> int:
  """Count the steps of some epochs over so many examples: the nearest number, but one at least."""
  return max(1, round(epochs * (examples / config.optim.batch_size)))


def steps_per_dispatch(
  config: TrainConfig, devices: Sequence[jax.Device], *, total_steps: int
) -> int:
  """Return how many steps are one program on devices.

  As many as the config says. If it does not, 1 on a CPU, where scanned convolutions are slow.
  Elsewhere a number that the run is a multiple of, so that nothing remains for which another
  program would be compiled, and that runs of several lengths have in common.

  Args:
    config: The config.
    devices: The devices.
    total_steps: Steps of the run.

  Example:
    >>> class Gpu:
    ...   platform = "gpu"
    >>> [
    ...   steps_per_dispatch(TrainConfig(), [Gpu], total_steps=epochs * 50_000 // 64)
    ...   for epochs in (60, 300)]
    [125, 125]
  """
  if config.run.steps_per_dispatch is not None:
    return config.run.steps_per_dispatch
  if devices[0].platform == "cpu":
    return 1
  return next((steps for steps in range(128, 31, -1) if total_steps % steps == 0), 100)
