"""Ahead-of-time compilation of a config's programs for TPUs that need not be there."""

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import metadata
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.experimental import topologies
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.sharding import NamedSharding, PartitionSpec

from isomax_jax import data
from isomax_jax.data._packages import package_folder
from isomax_jax.detectors import create_detector
from isomax_jax.evaluation.measure import make_score
from isomax_jax.evaluation.predict import forward
from isomax_jax.heads import HEADS
from isomax_jax.runs._train import make_state
from isomax_jax.runs.known_set import find_known_set, find_splits, make_pipeline
from isomax_jax.runs.network import make_bind, make_network
from isomax_jax.training import TrainConfig
from isomax_jax.training.devices import spread
from isomax_jax.training.schedule import make_schedule
from isomax_jax.typing import Device

EVALUATION_BATCH = 256
# Without a TPU, libtpu looks for one on the network, warns that there is none, and locks itself
# against other processes.
_NO_TPU = {
  "TPU_SKIP_MDS_QUERY": "1",
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_WORKER_HOSTNAMES": "localhost",
}


class _TpuDevice(Device, Protocol):
  coords: tuple[int, ...]


class Program(NamedTuple):
  """A compiled program of some training steps or evaluation batches, and the time it took."""

  name: str
  steps: int
  lowered: jax.stages.Lowered
  compiled: jax.stages.Compiled
  seconds: float

  @property
  def memory(self) -> dict[str, int]:
    """Bytes on one device: of arguments, of results apart from these, of scratch and of code."""
    memory = self.compiled.memory_analysis()
    if memory is None:
      raise ValueError(f"the compiler does not say what memory {self.name} takes")
    return {
      "arguments": memory.argument_size_in_bytes,
      "results": memory.output_size_in_bytes - memory.alias_size_in_bytes,
      "scratch": memory.temp_size_in_bytes,
      "code": memory.generated_code_size_in_bytes,
    }

  @property
  def flops(self) -> float:
    """Floating-point operations of one step, or one batch, on one device."""
    costs = self.compiled.cost_analysis()
    if costs is None:
      raise ValueError(f"the compiler does not say what {self.name} costs")
    return costs["flops"]


def tpu_devices(target: str) -> list[_TpuDevice]:
  """Describe the devices of a TPU slice by generation and topology, such as ``"v5e:2x2"``.

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
  config: TrainConfig, target: str, *, data_dir: str | os.PathLike[str] | None = None
) -> Iterator[Program]:
  """Compile the training and evaluation of a config without running them.

  The set need not be prepared if its description is known without it. All of its training images
  are counted, so that a run that keeps some for validation, or leaves classes out, has fewer steps,
  and maybe fewer or more a dispatch, unless the config says how many. The program of a single step,
  for the steps that remain, is not compiled: it is the body of the one that is.

  Args:
    config: The config.
    target: The TPU slice: generation and topology, such as ``"v5e:2x2"`` or ``"v4:2x2x1"``.
      Training is for all of its hosts together, evaluating, of which each does a share, for one.
    data_dir: Where sets are kept; see :func:`isomax_jax.data.load`.

  Yields:
    The steps of a dispatch, the forward pass and the score of the head's detector.

  Raises:
    ValueError: If the config does not fit together, or a program not into a device's memory, or
      there is no such target, or the installed compiler is too old for it.

  Example:
    >>> [p.name for p in compile_programs(TrainConfig(), "v5e:2x2")]  # doctest: +SKIP
    ['train', 'forward pass', 'entropic_score']
  """
  devices = tpu_devices(target)
  if target.startswith("v6e") and _has_old_compiler():
    raise ValueError(
      f"target {target} needs libtpu 0.0.50 or newer, got {metadata.version('libtpu')}, which "
      "crashes on these networks; Python 3.12 and newer have one"
    )
  known = find_known_set(config, find=partial(data.get_spec, data_dir=data_dir))
  splits = find_splits(config, known, data_dir=data_dir)
  pipeline = make_pipeline(config, *((split, split.blank()) for split in splits))
  examples = known.spec.splits["train"]
  schedule = make_schedule(config, examples=examples, devices=devices)
  runner = spread(config, known.preprocessing, pipeline.fetch, devices=devices)
  drawn = jax.tree.map(
    lambda leaf: np.broadcast_to(leaf, (schedule.per_dispatch, *leaf.shape)),
    next(pipeline.draws(0)),
  )
  state = jax.eval_shape(partial(make_state, config, known, devices, total_steps=schedule.total))
  source = jax.eval_shape(lambda: pipeline.source)
  key = jax.eval_shape(partial(jax.random.key, 0))
  lowered = runner.lower(state, source, runner.place(drawn), key)
  yield _compile("train", schedule.per_dispatch, lowered)

  local = _devices_of_one_host(target, devices)
  mesh = jax.sharding.Mesh(local, ("data",))
  everywhere, spread_out = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
  shape = (-(-EVALUATION_BATCH // len(local)) * len(local), *known.spec.example_shape)
  images = jax.ShapeDtypeStruct(shape, known.spec.dtype, sharding=spread_out)
  bind = make_bind(make_network(config, known), known)
  classifier = _with_sharding(jax.eval_shape(bind, state.variables), everywhere)
  yield _compile("forward pass", 1, forward.lower(classifier, images))

  detector = HEADS[config.model.head].detector
  outputs = _with_sharding(jax.eval_shape(forward, classifier, images), spread_out)
  score = make_score(create_detector(detector))
  yield _compile(detector, 1, score.lower(((), classifier), (images, outputs)))


def _has_old_compiler() -> bool:
  """Tell whether libtpu overflows its stack on convolutions for a v6e."""
  return tuple(map(int, metadata.version("libtpu").split(".")[:3])) < (0, 0, 50)


def _devices_of_one_host(target: str, devices: Sequence[_TpuDevice]) -> Sequence[_TpuDevice]:
  """Describe a host's devices as a slice of their own, since the compiler knows no part of one."""
  local = [device for device in devices if device.process_index == devices[0].process_index]
  if len(local) == len(devices):
    return devices
  generation, _, topology = target.partition(":")
  axes = zip(*(device.coords for device in local), strict=True)
  sizes = [len(set(axis)) for axis in axes][: len(topology.split("x"))]
  return tpu_devices(f"{generation}:{'x'.join(map(str, sizes))}")


def _with_sharding(tree: Any, sharding: NamedSharding) -> Any:
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
  )


def _compile(name: str, steps: int, lowered: jax.stages.Lowered) -> Program:
  """Compile without JAX's cache: a program for absent devices cannot be read back from it."""
  # JAX before 0.12 does not declare its options.
  enabled = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]
  jax.config.update("jax_enable_compilation_cache", False)
  reset_cache()  # It looks at the option once.
  started = time.perf_counter()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    raise ValueError(f"{name} does not fit: {error}") from error
  finally:
    jax.config.update("jax_enable_compilation_cache", enabled)
    reset_cache()
  return Program(name, steps, lowered, compiled, time.perf_counter() - started)
