"""The real programs, compiled for TPUs that are not there; needs the extra ``tpu-aot``."""

import collections
import dataclasses
import itertools
import math
import re
from importlib import metadata

import jax
import pytest

pytest.importorskip("libtpu")

from isomax_jax import data
from isomax_jax.runs.compile import (
  _compile,
  _devices_of_one_host,
  _has_old_compiler,
  compile_programs,
  tpu_devices,
)
from isomax_jax.training import DataConfig, ModelConfig, RunConfig, TrainConfig

# Generation and topology, and the strategies that its number of hosts allows.
TARGETS = {
  "v4:2x2x1": ("pmap", "sharded"),
  "v5e:2x2": ("pmap", "sharded"),
  "v5e:4x4": ("sharded",),
  "v6e:2x2": ("pmap", "sharded"),
}
NETWORKS = ("resnet34", "densenet_bc_100")
IN_EVERY_RUN = [("v5e:2x2", "pmap", "resnet34")]


@pytest.fixture(autouse=True, scope="module")
def optimized():
  """Compile as users do: what the compiler makes of a program is what is looked at here."""
  before = jax.config.values["jax_disable_most_optimizations"]
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


def cases():
  for target, strategies in TARGETS.items():
    for strategy in strategies:
      for network in NETWORKS:
        case = target, strategy, network
        mark = pytest.mark.slow if case in IN_EVERY_RUN else pytest.mark.by_hand
        yield pytest.param(*case, marks=mark)


def collectives(program):
  """Return what devices send each other: the number of values, by kind of communication."""
  found = collections.Counter()
  for shapes, kind in re.findall(
    r"= (.*?) (all-[a-z]+|reduce-scatter|collective-[a-z]+)(?:-start)?\(",
    program.compiled.as_text(),
  ):
    for size in re.findall(r"\w+\[([\d,]*)\]", shapes):
      found[kind] += math.prod(int(axis) for axis in size.split(",") if axis)
  return found


def operands(program, operation):
  """Return the types that each use of an operation is given, as handed to the compiler."""
  return re.findall(rf"stablehlo\.{operation}\b.* : \((.*)\) ->", program.lowered.as_text())


@pytest.mark.parametrize(
  ("target", "devices", "hosts"),
  [("v5e:1x1", 1, 1), ("v5e:4x4", 16, 4), ("v4:2x2x1", 4, 1), ("v6e:2x2", 4, 1)],
)
def test_a_target_has_its_devices(target, devices, hosts):
  described = tpu_devices(target)
  assert len(described) == devices
  assert len({device.process_index for device in described}) == hosts


def test_a_compiler_that_would_crash_is_not_asked(monkeypatch):
  versions = {"0.0.42": True, "0.0.50": False, "0.0.50.1": False, "0.1": False}
  for version, old in versions.items():
    monkeypatch.setattr(metadata, "version", {"libtpu": version}.__getitem__)
    assert _has_old_compiler() == old
  monkeypatch.setattr(metadata, "version", {"libtpu": "0.0.42"}.__getitem__)
  with pytest.raises(ValueError, match=r"^target v6e:2x2 needs libtpu 0.0.50 or newer, got 0.0.42"):
    next(compile_programs(TrainConfig(data=DataConfig(name="cifar10")), "v6e:2x2"))


@pytest.mark.parametrize(
  ("target", "shape"), [("v5e:4x4", (2, 2, 1)), ("v4:2x2x2", (2, 2, 1)), ("v6e:2x2", (2, 2, 1))]
)
def test_a_host_is_a_slice_of_its_own(target, shape):
  devices = _devices_of_one_host(target, tpu_devices(target))
  assert {device.process_index for device in devices} == {0}
  assert {tuple(device.coords) for device in devices} == set(itertools.product(*map(range, shape)))
  assert {device.id for device in devices} == set(range(4))


def test_what_is_no_target_is_named():
  with pytest.raises(ValueError, match=r"^target must be a TPU's generation .* got 'v9:2x2': "):
    tpu_devices("v9:2x2")


def test_what_is_compiled_for_a_tpu_is_not_kept():
  """It could not be loaded: the second time, JAX would warn and compile again."""
  of_the_tests = jax.config.jax_persistent_cache_min_compile_time_secs
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  sharding = jax.sharding.SingleDeviceSharding(tpu_devices("v5e:1x1")[0])
  image = jax.ShapeDtypeStruct((8, 128), "float32", sharding=sharding)
  try:
    for _ in range(2):
      jax.clear_caches()  # Those in memory.
      lowered = jax.jit(jax.numpy.tanh).lower(image)
      assert _compile("tanh", 1, lowered).memory["code"] > 0
  finally:
    jax.config.update("jax_persistent_cache_min_compile_time_secs", of_the_tests)


@pytest.mark.parametrize(("target", "strategy", "network"), list(cases()))
def test_the_programs_are_what_a_tpu_should_run(target, strategy, network):
  if target.startswith("v6e") and _has_old_compiler():
    pytest.skip("this compiler of the TPU's crashes for a v6e")
  config = TrainConfig(
    data=DataConfig(name="cifar10"),
    model=ModelConfig(name=network, dtype="bfloat16"),
    run=RunConfig(strategy=strategy),
  )
  programs = train, forward, score = list(compile_programs(config, target))
  assert train.steps == 125  # Of 300 epochs of 50,000 images in batches of 64.
  for program in programs:
    for text in (program.lowered.as_text(), program.compiled.as_text()):
      assert not re.search(r"callback|infeed|outfeed|is_host_transfer=true|f64", text)
  for program in (train, forward):
    convolutions, products = (operands(program, op) for op in ("convolution", "dot_general"))
    assert all(types.count("xbf16>") == 2 for types in convolutions)
    assert all(types.count("xf32>") == 2 for types in products)
    assert len(convolutions) >= 33
    # The gradient's two, and two outer products, which the compiler makes multiplications; the
    # distances to ten classes are differenced.
    assert len(products) == (4 if program is train else 0)

  # Devices add up gradients, BatchNorm's statistics and metrics; images and parameters stay.
  (state, *_), _ = train.lowered.args_info
  parameters, statistics = (
    sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
    for tree in (state.params, state.batch_stats)
  )
  sent = collectives(train)
  assert set(sent) == {"all-reduce"}
  assert parameters < sent["all-reduce"] < parameters + 3 * statistics
  # Images are each device's own, but whether a distance needs a second look is asked of all.
  assert collectives(forward).total() <= 2
  assert collectives(score).total() == 0
  # All images and what a step needs beside them.
  assert 50_000 * 32 * 32 * 3 < train.memory["arguments"] < 50_000 * 32 * 32 * 3 * 3
  assert train.memory["scratch"] < 1e9


@pytest.mark.by_hand
def test_what_does_not_fit_says_so(monkeypatch):
  spec = dataclasses.replace(data.SPECS["cifar10"], splits={"train": 6_000_000, "test": 1})
  monkeypatch.setitem(data.SPECS._entries, "cifar10", spec)  # 18 GB, and a v5e has 16.
  config = TrainConfig(data=DataConfig(name="cifar10"), run=RunConfig(pipeline="resident"))
  with pytest.raises(ValueError, match=r"^train does not fit: .*exceeds available HBM"):
    next(compile_programs(config, "v5e:2x2"))
