import itertools

import chex
import jax
import numpy as np
import pytest

from isomax_jax.data import resident
from isomax_jax.training.devices import AXIS, make_runner
from tests.slow import slow

BATCH = 8
STEPS = 5


def run(examples, step, state, *, strategy, devices, per_dispatch=1):
  """Take five steps; return the state and the metrics of each."""
  runner = make_runner(
    step, resident.fetch, strategy=strategy, devices=jax.devices()[:devices], batch_size=BATCH
  )
  state = runner.replicate(state)
  source = runner.replicate(examples)
  key = runner.replicate(jax.random.key(1))
  stream = resident.draws(len(examples.labels), batch_size=BATCH, seed=0)
  metrics = []
  compiled = {}
  for start in range(0, STEPS, per_dispatch):
    count = min(per_dispatch, STEPS - start)
    draws = jax.tree.map(lambda *leaves: np.stack(leaves), *itertools.islice(stream, count))
    draws = runner.place(draws)
    if count not in compiled:
      compiled[count] = runner.lower(state, source, draws, key).compile()
    state, values = compiled[count](state, source, draws, key)
    metrics.append(jax.device_get(values))
  return jax.device_get(state), jax.tree.map(lambda *v: np.concatenate(v), *metrics)


@pytest.fixture(scope="module")
def reference(examples, make_step, make_state):
  return run(examples, make_step(), make_state(), strategy="sharded", devices=1, per_dispatch=1)


@pytest.mark.parametrize(
  ("strategy", "devices", "per_dispatch"),
  [
    slow("sharded", 1, 4),
    ("sharded", 2, 1),
    slow("sharded", 4, 4),
    slow("sharded", 8, 1),
    slow("sharded", 8, 4),
    slow("pmap", 1, 1),
    ("pmap", 2, 1),
    slow("pmap", 4, 4),
    slow("pmap", 8, 1),
    slow("pmap", 8, 4),
  ],
)
def test_numbers_do_not_depend_on_how_steps_are_spread(
  examples, make_step, make_state, reference, strategy, devices, per_dispatch
):
  axis_name = AXIS if strategy == "pmap" else None
  state, metrics = run(
    examples,
    make_step(axis_name),
    make_state(axis_name),
    strategy=strategy,
    devices=devices,
    per_dispatch=per_dispatch,
  )
  expected_state, expected_metrics = reference
  assert metrics["loss"].shape == (STEPS,)
  assert int(state.step) == STEPS
  chex.assert_trees_all_close(metrics, expected_metrics, rtol=1e-5)
  for part in ("params", "batch_stats", "opt_state"):
    chex.assert_trees_all_close(
      getattr(state, part), getattr(expected_state, part), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_parts_of_a_batch_are_the_same_however_it_is_spread(examples, make_step, make_state):
  results = [
    run(
      examples,
      make_step(axis_name, accumulate=2),
      make_state(axis_name),
      strategy=strategy,
      devices=devices,
    )
    for strategy, axis_name, devices in (
      ("sharded", None, 1),
      ("sharded", None, 4),
      ("pmap", AXIS, 4),
    )
  ]
  for state, metrics in results[1:]:
    chex.assert_trees_all_close(metrics, results[0][1], rtol=1e-5)
    for part in ("params", "batch_stats"):
      chex.assert_trees_all_close(
        getattr(state, part), getattr(results[0][0], part), rtol=1e-5, atol=1e-6
      )


@pytest.mark.parametrize("forgotten", ["BatchNorm's axis", "the gradient's mean"])
def test_what_a_missing_average_over_devices_does_is_seen(
  examples, make_step, make_state, reference, forgotten
):
  """Neither raises, so only numbers tell."""
  step_axis, norm_axis = (AXIS, None) if "BatchNorm" in forgotten else (None, AXIS)
  state, _ = run(
    examples,
    make_step(step_axis),
    make_state(norm_axis),
    strategy="pmap",
    devices=4,
    per_dispatch=1,
  )
  with pytest.raises(AssertionError):
    chex.assert_trees_all_close(state.params, reference[0].params, rtol=1e-3)


def test_a_batch_that_does_not_divide_names_the_nearest_sizes(make_step):
  options = {"strategy": "sharded", "devices": jax.devices()[:4]}
  for size, multiple, message in (
    (10, 1, "a multiple of 4 for 4 devices, got 10; nearest: 8 or 12"),
    (3, 1, "a multiple of 4 for 4 devices, got 3; nearest: 4"),
    (36, 6, "a multiple of 24 for 4 devices, 6 for each, got 36; nearest: 24 or 48"),
  ):
    with pytest.raises(ValueError, match=rf"^batch_size must be {message}$"):
      make_runner(make_step(), resident.fetch, batch_size=size, multiple=multiple, **options)


def test_an_unknown_strategy_lists_the_known_ones(make_step):
  with pytest.raises(ValueError, match="unknown strategy 'ring'; known: pmap, sharded"):
    make_runner(make_step(), resident.fetch, strategy="ring", devices=jax.devices(), batch_size=8)
