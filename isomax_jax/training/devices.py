"""Data parallelism: steps spread over devices by ``pmap``, or by ``jit`` with shardings.

Both take a replicated state without a device axis and give the same numbers.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from isomax_jax import _checks
from isomax_jax.training.config import TrainConfig
from isomax_jax.training.state import TrainState
from isomax_jax.training.step import train_step
from isomax_jax.typing import Batch, Device, Preprocessing

AXIS = "data"

Step = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
Fetch = Callable[[Any, Any], Batch[jax.Array]]


class Runner(NamedTuple):
  """A step, spread over devices.

  Attributes:
    replicate: Copy a tree of arrays to every device.
    place: Lay out draws, arrays on the host ``[steps, batch, ...]`` each, for the devices.
    lower: Lower the program ``(state, source, draws, key) -> (state, metrics)`` for arguments of
      such shapes: a step for each of the placed draws; metrics are ``[steps]``. Compiled and run,
      it consumes the state.
  """

  replicate: Callable[[Any], Any]
  place: Callable[[Any], Any]
  lower: Callable[[TrainState, Any, Any, jax.Array], jax.stages.Lowered]


def make_runner(
  step: Step,
  fetch: Fetch,
  *,
  strategy: str,
  devices: Sequence[Device],
  batch_size: int,
  multiple: int = 1,
) -> Runner:
  """Spread a step over devices.

  Args:
    step: ``train_step`` with ``objective`` and, for ``pmap``, ``axis_name`` bound.
    fetch: Function of the source (replicated arrays) and a draw to a batch.
    strategy: ``"pmap"`` or ``"sharded"``.
    devices: Devices to use; they may be those of a topology that is only compiled for.
    batch_size: Examples per step over all devices.
    multiple: What a device's share of the batch must be a multiple of.

  Raises:
    ValueError: If the strategy is unknown or not for several processes, or the batch size is no
      multiple of devices times ``multiple``.

  Example:
    >>> def step(state, batch, key):
    ...   return state + batch.sum(), {"mean": batch.mean()}
    >>> runner = make_runner(
    ...     step, lambda source, draw: source[draw], strategy="sharded",
    ...     devices=jax.devices()[:1], batch_size=2)
    >>> state, source, key = runner.replicate((np.zeros(()), np.arange(5.0), jax.random.key(0)))
    >>> draws = runner.place(np.array([[1, 2], [3, 4]]))  # Two steps of two examples.
    >>> run = runner.lower(state, source, draws, key).compile()
    >>> state, metrics = run(state, source, draws, key)
    >>> float(state), metrics["mean"].tolist()
    (10.0, [1.5, 3.5])
  """
  _checks.one_of("strategy", strategy, ("pmap", "sharded"))
  if strategy == "pmap" and _count_processes(devices) > 1:
    raise ValueError("strategy must be sharded for several processes, got pmap")
  count = len(devices)
  _check_batch_size(batch_size, count, multiple)

  def steps(state, source, draws, key):
    def one(state, draw):
      return step(state, fetch(source, draw), key)

    if jax.tree.leaves(draws)[0].shape[0] > 1:
      return lax.scan(one, state, draws)
    state, metrics = one(state, jax.tree.map(lambda draw: draw[0], draws))
    return state, jax.tree.map(lambda metric: metric[None], metrics)

  mesh = jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
  replicated = NamedSharding(mesh, PartitionSpec())

  def replicate_leaf(leaf):
    if not (isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)):
      return jax.device_put(leaf, replicated)
    # Between processes only plain arrays can be compared and sent.
    data = jax.device_put(jax.random.key_data(leaf), replicated)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))

  split = NamedSharding(mesh, PartitionSpec(None, AXIS))

  def place_leaf(draw):
    if strategy == "pmap":
      # [steps, batch] becomes [steps, devices, batch / devices].
      return np.reshape(draw, (draw.shape[0], count, -1, *draw.shape[2:]))
    # A process draws its own rows: alone, all of them.
    alone = jax.process_count() == 1
    return draw if alone else jax.make_array_from_process_local_data(split, draw)

  if strategy == "pmap":
    program = jax.pmap(
      steps, AXIS, in_axes=(None, None, 1, None), out_axes=None, devices=devices, donate_argnums=0
    )
  else:
    program = jax.jit(
      steps,
      in_shardings=(replicated, replicated, split, replicated),
      out_shardings=replicated,
      donate_argnums=0,
    )
  replicate, place = (partial(jax.tree.map, each) for each in (replicate_leaf, place_leaf))
  return Runner(replicate, place, program.lower)


def spread(
  config: TrainConfig, preprocessing: Preprocessing, fetch: Fetch, *, devices: Sequence[Device]
) -> Runner:
  """Spread a config's step over devices, as :func:`make_runner` does.

  The state's network must have the axis of :func:`find_axis`.

  Example:
    >>> preprocessing = Preprocessing(lambda key, batch: batch.images, lambda x: x, lambda x: x)
    >>> runner = spread(
    ...   TrainConfig(), preprocessing, lambda source, draw: draw, devices=jax.devices()[:1])
    >>> runner.place(np.arange(2)).tolist()
    [0, 1]
  """
  step = partial(
    train_step,
    objective=config.objective.make(preprocessing, entropic_scale=config.model.training_scale),
    accumulate=config.optim.accumulate,
    axis_name=find_axis(config, devices),
  )
  return make_runner(
    step,
    fetch,
    strategy=_strategy(config, devices),
    devices=devices,
    batch_size=config.optim.batch_size,
    multiple=_multiple(config),
  )


def find_axis(config: TrainConfig, devices: Sequence[Device]) -> str | None:
  """Return the name of the axis over which a config's step is mapped, or None.

  Example:
    >>> find_axis(TrainConfig(), jax.devices()[:1])
  """
  return AXIS if _strategy(config, devices) == "pmap" else None


def check_devices(config: TrainConfig, devices: Sequence[Device]) -> None:
  """Raise ValueError unless a config's batch size is one that :func:`spread` takes.

  Example:
    >>> check_devices(TrainConfig(), jax.devices()[:1])
  """
  _check_batch_size(config.optim.batch_size, len(devices), _multiple(config))


def _strategy(config: TrainConfig, devices: Sequence[Device]) -> str:
  if config.run.strategy != "auto":
    return config.run.strategy
  return "pmap" if _count_processes(devices) == 1 < len(devices) else "sharded"


def _count_processes(devices: Sequence[Device]) -> int:
  return len({device.process_index for device in devices})


def _multiple(config: TrainConfig) -> int:
  return config.optim.accumulate * config.objective.rows


def _check_batch_size(batch_size: int, devices: int, multiple: int) -> None:
  unit = devices * multiple
  if batch_size % unit:
    below = batch_size - batch_size % unit
    sizes = " or ".join(str(size) for size in (below, below + unit) if size)
    each = f", {multiple} for each" if multiple > 1 else ""
    raise ValueError(
      f"batch_size must be a multiple of {unit} for {devices} devices{each}, got {batch_size}; "
      f"nearest: {sizes}"
    )
