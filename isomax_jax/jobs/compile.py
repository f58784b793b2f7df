"""Compile the programs of a config for TPUs that are not there: do they compile, do they fit?"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.sharding import NamedSharding, PartitionSpec

from isomax_jax import data
from isomax_jax.data._packages import package_folder
from isomax_jax.detectors import create_detector
from isomax_jax.evaluation.benchmark import make_score
from isomax_jax.jobs.batches import find_origins, make_fetch
from isomax_jax.jobs.setup import Setup, make_forward, make_model, make_setup
from isomax_jax.jobs.steps import count_steps, make_runner, steps_per_dispatch
from isomax_jax.jobs.train import DETECTOR_OF_HEAD
from isomax_jax.training import TrainConfig, create_state
from isomax_jax.training.optim import learning_rates, sgd

EVALUATION_BATCH = 256
# Without a TPU its library looks for one on the network, warns that there is none, and locks it
# against other processes.
_NO_TPU = {
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_WORKER_HOSTNAMES": "localhost",
}


class Program(NamedTuple):
  """A compiled program.

  Attributes:
    name: What it does.
    steps: How many steps of training or batches of evaluation it is.
    lowered: As it was handed to the compiler.
    compiled: As the compiler made it.
    seconds: How long that took.
  """

  name: str
  steps: int
  lowered: jax.stages.Lowered
  compiled: jax.stages.Compiled
  seconds: float

  @property
  def memory(self) -> dict[str, int]:
    """Bytes on one device: of what is handed in, of what comes out beside it, and for its use."""
    memory = self.compiled.memory_analysis()
    return {
      "arguments": memory.argument_size_in_bytes,
      "results": memory.output_size_in_bytes - memory.alias_size_in_bytes,
      "scratch": memory.temp_size_in_bytes,
      "code": memory.generated_code_size_in_bytes,
    }

  @property
  def flops(self) -> float:
    """Floating-point operations of one step, or one batch, on one device."""
    return self.compiled.cost_analysis()["flops"]


def tpu_devices(target: str) -> list[jax.Device]:
  """Describe the devices of a TPU slice, which need not be there.

  Args:
    target: Generation and topology, such as ``"v5e:2x2"`` or ``"v4:2x2x1"``.

  Raises:
    ModuleNotFoundError: If the TPU compiler is not installed.
    ValueError: If the compiler does not know the target.
  """
  package_folder("libtpu", extra="tpu-aot")
  if jax.default_backend() != "tpu":
    for name, value in _NO_TPU.items():
      os.environ.setdefault(name, value)
  options: dict[str, Any] = {}
  if target.startswith("v4:"):
    options["chip_config_name"] = "megacore"  # Both cores of a chip are one device.
  if set(target.partition(":")[2].split("x")) == {"1"}:
    options["chips_per_host_bounds"] = (1, 1, 1)
  try:
    return topologies.get_topology_desc(platform="tpu", topology_name=target, **options).devices
  except Exception as error:
    reason = " ".join(str(error).split())
    raise ValueError(
      f"target must be a TPU's generation and topology, such as v5e:2x2, got {target!r}: {reason}"
    ) from error


def compile_programs(
  config: TrainConfig,
  target: str,
  *,
  data_dir: str | os.PathLike[str] | None = None,
) -> Iterator[Program]:
  """Compile what training and evaluating a config runs.

  Nothing is run, and the set need not be prepared if its description is known without it. All of
  its training images are counted, those for validation and of other classes too. A run that keeps
  some for validation, or leaves classes out, has fewer steps, and so maybe another number of them a
  dispatch, unless the config says how many. The program of a single step, by which a run takes what
  steps remain, is not compiled: it is the body of the one that is.

  Args:
    config: The config.
    target: What to compile for; see :func:`tpu_devices`. Training is for all of its hosts together,
      evaluating for one of them, as they share the images out.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Yields:
    The steps of a dispatch, the forward pass and the score of the head's detector.

  Raises:
    ValueError: If the config does not fit together, or a program not into a device's memory, or
      there is no such target, or the compiler that is installed is too old for it.
  """
  devices = tpu_devices(target)
  if target.startswith("v6e") and _has_old_compiler():
    raise ValueError(
      f"target {target} needs libtpu 0.0.50 or newer, got {metadata.version('libtpu')}, which "
      "crashes on these networks; Python 3.12 and newer have one"
    )
  setup = make_setup(config, find=partial(data.get_spec, data_dir=data_dir))
  known, outliers = find_origins(config, setup, data_dir)
  runner, axis_name = make_runner(config, setup, make_fetch(known, outliers), devices=devices)
  total_steps = count_steps(config, config.optim.epochs, examples=setup.spec.splits["train"])
  steps = steps_per_dispatch(config, devices, total_steps=total_steps)
  size = config.optim.batch_size
  source, draws = known.outline(size, steps)
  if outliers is not None:
    source, draws = zip((source, draws), outliers.outline(size, steps), strict=True)
  state = jax.eval_shape(partial(_initial_state, config, setup, axis_name, total_steps))
  key = jax.eval_shape(partial(jax.random.key, 0))
  yield _compile("train", steps, runner.lower(state, source, runner.place(draws), key))

  local = _devices_of_one_host(target, devices)
  mesh = jax.sharding.Mesh(local, ("data",))
  everywhere, spread = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
  forward = make_forward(make_model(config, setup), setup)
  shape = (-(-EVALUATION_BATCH // len(local)) * len(local), *setup.spec.image_shape)
  images = jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=spread)
  variables = _with_sharding(state.variables, everywhere)
  yield _compile("forward pass", 1, forward.lower(variables, images))

  detector = DETECTOR_OF_HEAD[config.model.head]
  outputs = _with_sharding(jax.eval_shape(forward, variables, images), spread)
  score = make_score(create_detector(detector))
  yield _compile(detector, 1, score.lower(((), None), (images, outputs)))


def _has_old_compiler() -> bool:
  """Tell whether the TPU's compiler is one that overflows its stack on convolutions for a v6e."""
  return tuple(map(int, metadata.version("libtpu").split(".")[:3])) < (0, 0, 50)


def _devices_of_one_host(target: str, devices: Sequence[jax.Device]) -> Sequence[jax.Device]:
  """Describe a host's devices as a slice of their own, since the compiler knows no part of one."""
  local = [device for device in devices if device.process_index == devices[0].process_index]
  if len(local) == len(devices):
    return devices
  generation, _, topology = target.partition(":")
  axes = zip(*(device.coords for device in local), strict=True)
  sizes = [len(set(axis)) for axis in axes][: len(topology.split("x"))]
  return tpu_devices(f"{generation}:{'x'.join(map(str, sizes))}")


def _initial_state(
  config: TrainConfig, setup: Setup, axis_name: str | None, total_steps: int
) -> Any:
  return create_state(
    make_model(config, setup, axis_name=axis_name),
    sgd(config.optim),
    jax.random.key(config.seed),
    setup.spec.image_shape,
    learning_rates=learning_rates(config.optim, total_steps=total_steps),
  )


def _with_sharding(tree: Any, sharding: NamedSharding) -> Any:
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
  )


def _compile(name: str, steps: int, lowered: jax.stages.Lowered) -> Program:
  started = time.perf_counter()
  try:
    with _nothing_kept():
      compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ValueError(f"{name} does not fit: {error}") from error
  return Program(name, steps, lowered, compiled, time.perf_counter() - started)


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
  """Compile without JAX's cache: a program for absent devices cannot be read back from it."""
  enabled = jax.config.jax_enable_compilation_cache
  jax.config.update("jax_enable_compilation_cache", False)
  reset_cache()  # It looks at the option once.
  try:
    yield
  finally:
    jax.config.update("jax_enable_compilation_cache", enabled)
    reset_cache()
