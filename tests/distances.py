"""What distances promise, as an assertion, and inputs for which it is hard to keep."""

import numpy as np

from isomax_jax.losses import _distances
from tests import oracles

ROWS, CLASSES = 16, 24


def one_form(**forms):
  """Return the distance by given forms, whatever the sizes."""

  def distance(features, prototypes):
    vectors = _distances.checked_vectors(features, prototypes)
    return _distances._distances(lambda *shapes: _distances._Forms(**forms), *vectors)

  return distance


DISTANCES = {
  "direct": one_form(**dict.fromkeys(("cpu", "cuda", "tpu"), _distances._direct)),
  # With another form elsewhere, as between the bounds of two platforms.
  "product": one_form(cpu=_distances._by_product, cuda=_distances._direct, tpu=_distances._direct),
}


def spread(features, prototypes):
  """Return ``‖f - c‖`` and ``‖p - c‖`` with the mean prototype ``c``, shapes [B, 1] and [1, C]."""
  features, prototypes = np.float64(features), np.float64(prototypes)
  centre = prototypes.mean(0)
  return (
    np.linalg.norm(features - centre, axis=-1)[:, None],
    np.linalg.norm(prototypes - centre, axis=-1)[None, :],
  )


def assert_guaranteed(distances, features, prototypes):
  distances, exact = np.float64(distances), oracles.distances(features, prototypes)
  of_features, of_prototypes = spread(features, prototypes)
  two = np.argsort(exact, axis=-1)[:, :2]
  near, exact_near = (np.take_along_axis(d, two, axis=-1) for d in (distances, exact))
  np.testing.assert_allclose(near, exact_near, rtol=1e-5, atol=0, err_msg="the two nearest")
  error = np.abs(distances - exact) * exact
  resolution = max(1e-6, 1.2e-7 * features.shape[-1] ** 0.5)
  allowed = resolution * (of_features**2 + of_prototypes**2)
  assert (error <= allowed).all(), f"{(error / np.maximum(allowed, 1e-300)).max()} of the bound"


def unit(generator, *shape):
  vectors = generator.normal(size=shape)
  return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def collapsed(rows, classes, width):
  """Return prototypes that are one but for the last digits, and features beside them."""
  generator = np.random.default_rng(0)
  spread = 1 + 1e-6 * generator.normal(size=(classes, width))
  prototypes = np.float32(generator.normal(size=width) * spread)
  return np.float32(np.float64(prototypes[:rows]) * (1 + 1e-7)), prototypes


def hard_cases(width):
  """Yield name, features ``[16, width]``, prototypes ``[24, width]``, all float32."""
  generator = np.random.default_rng(width)
  features = generator.normal(size=(ROWS, width))
  prototypes = generator.normal(size=(CLASSES, width))
  yield "random", features, prototypes
  yield "rectified", np.maximum(features, 0), np.abs(prototypes)
  yield "large", 1e4 * features, 1e4 * prototypes
  yield "small", 1e-6 * features, 1e-6 * prototypes
  yield "small features, prototypes at zero", 1e-6 * features, 0 * prototypes
  yield "all prototypes equal", features, np.broadcast_to(prototypes[0], prototypes.shape)
  yield "all one point", 0 * features + prototypes[0], 0 * prototypes + prototypes[0]
  yield "a cluster 1e4 away", features + 1e4, prototypes + 1e4
  yield "half the prototypes far away", features, prototypes + 1e4 * (np.arange(24) % 2)[:, None]
  yield "prototypes far from features", features, prototypes + 1e4
  yield "duplicates", features, prototypes[np.arange(CLASSES) // 3]
  yield "on prototypes", prototypes[:ROWS], prototypes
  yield "on duplicates", prototypes[np.arange(ROWS) // 3], prototypes[np.arange(CLASSES) // 3]
  on_sphere = unit(generator, CLASSES, width)
  for distance in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
    yield f"at {distance:g}", on_sphere[:ROWS] + distance * unit(generator, ROWS, width), on_sphere
  for several in (2, 3, 10):
    for distance in (1e-1, 1e-3, 1e-5):
      crowded = on_sphere.copy()
      crowded[:several] = on_sphere[0] + distance * unit(generator, several, width)
      close = np.tile(on_sphere[:1], (ROWS, 1))
      yield f"{several} prototypes at {distance:g}", close, crowded


def as_float32(cases):
  return [
    (name, np.float32(features), np.float32(prototypes)) for name, features, prototypes in cases
  ]
