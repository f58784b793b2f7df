"""What every registered detector keeps to: a registry line is all that a new one needs."""

import inspect
import tracemalloc
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isomax_jax.detectors import DETECTORS, Detector, Unsupported, create_detector
from tests.detectors import tiny
from tests.slow import slow
from tests.variants import VARIANTS

# All that may refuse a head that is not linear; the others serve every head.
LINEAR_ONLY = {"dice", "vim"}
# All whose parameters grow with the training data.
MEMORIES = {"knn"}
BATCH = 8


class Batches:
  """Batches that can be iterated again and again, and that know how often they were."""

  def __init__(self, batches):
    self.batches = batches
    self.passes = 0

  def __iter__(self):
    self.passes += 1
    yield from self.batches


@cache
def network(head):
  return tiny.make(head)


@cache
def inputs(head):
  images = tiny.draw_images(2, BATCH)
  return images, jax.jit(network(head)[0].outputs)(images)


@cache
def fitted(name, head):
  classifier, training = network(head)
  detector = create_detector(name)
  return detector, detector.fit(classifier, training.batches)


@cache
def jitted(name, head):
  detector, _ = fitted(name, head)
  classifier, _ = network(head)
  return jax.jit(
    lambda params, images, outputs: detector.score(params, classifier, images, outputs)
  )


@cache
def scores(name, head):
  _, params = fitted(name, head)
  return np.asarray(jitted(name, head)(params, *inputs(head)))


CASES = [
  (name, head) for name in DETECTORS for head in tiny.HEADS
  if head == "linear" or name not in LINEAR_ONLY
]  # fmt: skip
every_detector = pytest.mark.parametrize("name", DETECTORS)
every_case = pytest.mark.parametrize(("name", "head"), CASES)


@every_detector
def test_a_factory_of_keywords_makes_a_pair_of_functions(name):
  for option in inspect.signature(DETECTORS[name].factory).parameters.values():
    assert option.kind is option.KEYWORD_ONLY
    assert option.default is not option.empty
  detector = create_detector(name)
  assert isinstance(detector, Detector)
  assert list(inspect.signature(detector.fit).parameters) == ["classifier", "batches"]
  arguments = ["params", "classifier", "images", "outputs"]
  assert list(inspect.signature(detector.score).parameters) == arguments


@pytest.mark.parametrize("name", sorted(LINEAR_ONLY & set(DETECTORS)))
def test_a_head_that_does_not_serve_is_refused(name):
  classifier, training = network("isomax")
  with pytest.raises(Unsupported, match=f"^{name} needs a linear head"):
    create_detector(name).fit(classifier, training.batches)


@every_case
def test_params_are_a_tree_of_arrays(name, head):
  _, params = fitted(name, head)
  for leaf in jax.tree.leaves(params):
    assert isinstance(leaf, jax.Array)
    assert leaf.dtype == jnp.float32 or jnp.issubdtype(leaf.dtype, jnp.integer)
    assert np.isfinite(leaf).all()


@every_case
def test_scores_are_finite_and_one_an_example(name, head):
  values = scores(name, head)
  chex.assert_shape(values, (BATCH,))
  assert values.dtype == np.float32
  assert np.isfinite(values).all()
  assert len(np.unique(values)) == BATCH


@pytest.mark.slow
@every_case
def test_jit_equals_eager(name, head):
  detector, params = fitted(name, head)
  classifier, _ = network(head)
  images, outputs = inputs(head)
  values = detector.score(params, classifier, images, outputs)
  assert isinstance(values, jax.Array)
  np.testing.assert_allclose(values, scores(name, head), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", ["vmap", slow("pmap")])
@every_detector
def test_mapped(name, variant):
  detector, params = fitted(name, "linear")
  classifier, _ = network("linear")
  images, outputs = inputs("linear")

  def score(params, images, *outputs):
    outputs = jax.tree.unflatten(structure, outputs)
    if variant == "vmap":  # over examples, each a batch of one
      images, outputs = jax.tree.map(lambda x: x[None], (images, outputs))
      return detector.score(params, classifier, images, outputs)[0]
    return detector.score(params, classifier, images, outputs)

  leaves, structure = jax.tree.flatten(outputs)
  mapped = VARIANTS[variant](score, (False, True, *(True for _ in leaves)))
  values = mapped(params, images, *leaves)
  np.testing.assert_allclose(values, scores(name, "linear"), rtol=1e-5, atol=1e-6)


@every_case
def test_a_permuted_batch_permutes_the_scores(name, head):
  _, params = fitted(name, head)
  order = np.random.default_rng(0).permutation(BATCH)
  images, outputs = jax.tree.map(lambda x: x[order], inputs(head))
  permuted = jitted(name, head)(params, images, outputs)
  np.testing.assert_allclose(permuted, scores(name, head)[order], rtol=1e-5, atol=1e-6)


@every_case
def test_again_gives_the_same(name, head):
  detector, params = fitted(name, head)
  classifier, training = network(head)
  again = detector.fit(classifier, Batches(training.batches))
  chex.assert_trees_all_equal(again, params)
  np.testing.assert_array_equal(jitted(name, head)(again, *inputs(head)), scores(name, head))


@every_detector
def test_how_training_data_are_cut_into_batches_does_not_matter(name):
  detector, params = fitted(name, "linear")
  classifier, training = network("linear")
  for batch in (7, 64):
    others = tiny.cut(*training[:3], batch=batch)
    cut = detector.fit(classifier, others)
    chex.assert_trees_all_equal_shapes_and_dtypes(cut, params)
    values = jitted(name, "linear")(cut, *inputs("linear"))
    np.testing.assert_allclose(values, scores(name, "linear"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - MEMORIES))
def test_more_training_data_take_no_more_memory(name):
  detector = create_detector(name)
  classifier, training = network("linear")
  feature_bytes = training.outputs.features.nbytes

  def peak(times):
    tracemalloc.start()
    try:
      detector.fit(classifier, Batches(training.batches * times))
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  peak(1)  # what is compiled or imported on the way stays
  assert peak(40) - peak(2) < 38 * feature_bytes / 4


@every_detector
def test_a_fit_without_training_data_says_so_if_it_needs_any(name):
  detector, params = fitted(name, "linear")
  classifier, _ = network("linear")
  if not jax.tree.leaves(params):
    assert detector.fit(classifier, ()) == params == ()
    return
  for empty in ((), tiny.cut(*network("linear")[1][:3], batch=64)[:0]):
    with pytest.raises(ValueError, match=f"^{name} needs training data: there was no example"):
      detector.fit(classifier, empty)


@every_detector
def test_training_data_that_are_not_finite_are_told(name):
  detector, params = fitted(name, "linear")
  classifier, training = network("linear")
  images, labels, outputs = training.batches[1]
  broken = jax.tree.map(lambda x: x.at[0].set(jnp.nan), outputs)
  batches = [training.batches[0], (images, labels, broken), *training.batches[2:]]
  if not jax.tree.leaves(params):
    assert detector.fit(classifier, batches) == ()
    return
  with pytest.raises(ValueError, match=rf"^{name} needs finite \w+ of the training data, got NaN"):
    detector.fit(classifier, batches)


@every_case
def test_no_images_no_scores(name, head):
  _, params = fitted(name, head)
  images, outputs = jax.tree.map(lambda x: x[:0], inputs(head))
  chex.assert_shape(jitted(name, head)(params, images, outputs), (0,))


@every_case
def test_an_example_that_is_nan_is_not_known(name, head):
  _, params = fitted(name, head)
  images, outputs = jax.tree.map(lambda x: x.at[3].set(jnp.nan), inputs(head))
  values = np.asarray(jitted(name, head)(params, images, outputs))
  assert np.isnan(values[3])
  others = np.arange(BATCH) != 3
  np.testing.assert_allclose(values[others], scores(name, head)[others], rtol=1e-5, atol=1e-6)
