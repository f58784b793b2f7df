"""kNN: distance to the k-th nearest training example on the unit sphere of features."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isomax_jax import _checks
from isomax_jax.detectors._training import training_batches
from isomax_jax.detectors.base import Detector

# Training examples that a batch is compared with at a time, and examples of a batch whose
# candidates are gathered at a time: what bounds the memory.
_BLOCK = 4096
_ROWS = 8
# Candidates for each neighbour asked for: as many as the product may take wrongly for nearer.
_CANDIDATES = 2


def knn(*, k: int = 50) -> Detector:
  r"""Rank by the negative distance to the k-th nearest training example (kNN).

  .. math:: -\lVert z - z_{(k)} \rVert, \qquad z = f / \lVert f \rVert

  with :math:`z_{(1)}, z_{(2)}, \dots` the training examples from the nearest on. Needs features,
  and one pass over training data, all of whose features it keeps, in float32: this method is its
  memory. A score costs a product with all of them, in blocks.

  A matrix product finds twice k candidates, of which direct differences find the k-th, with the
  digits of float32 however near. That is exact unless more than k others are as near to within
  what the product resolves, some 3e-7 of a squared distance: then one that is so much farther may
  be taken. The authors use squared distances, which order alike. Zero features normalise to zero.

  Args:
    k: Which neighbour. The default is the authors' for CIFAR-10; they take 200 for CIFAR-100 and
      1,000 for ImageNet.

  Returns:
    A detector whose parameters are ``features``, shape ``[examples, features]``, normalised and
    less their mean, and that mean, the ``centre``.

  Raises:
    ValueError: If k is not a positive integer. The fit, if there are fewer than k training
      examples, or one is not finite.

  Example:
    >>> import jax.numpy as jnp
    >>> from isomax_jax.typing import Outputs
    >>> outputs = Outputs(logits=jnp.zeros((2, 2)), features=jnp.array([[2.0, 0.0], [0.0, 3.0]]))
    >>> detector = knn(k=2)
    >>> params = detector.fit(None, [(None, jnp.array([0, 1]), outputs)])
    >>> print(detector.score(params, None, None, outputs).round(3))
    [-1.414 -1.414]

  References:
    Sun et al., *Out-of-Distribution Detection with Deep Nearest Neighbors*, 2022, Eq. 2.
  """
  _checks.count("k", k)

  def fit(classifier, batches):
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    parts = []
    for batch in training_batches(batches, detector="knn"):
      norms = np.linalg.norm(batch.features, axis=-1, keepdims=True)
      parts.append((batch.features / np.where(norms > 0, norms, 1)).astype(dtype))
    features = np.concatenate(parts)
    if len(features) < k:
      raise ValueError(f"k must be at most the {len(features)} training examples, got {k}")
    centre = features.mean(0, dtype=np.float64).astype(dtype)
    features -= centre
    return {"features": jnp.asarray(features), "centre": jnp.asarray(centre)}

  def score(params, classifier, images, outputs):
    features = _checks.floating("features", outputs.features)
    squares = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    unit = features / jnp.sqrt(jnp.where(squares > 0, squares, 1))
    queries = unit - jnp.broadcast_to(params["centre"], unit.shape)
    candidates = _candidates(queries, params["features"], k)

    def kth_distance(row):
      query, places = row
      differences = params["features"][places] - query[None]
      squared = jnp.sum(jnp.square(differences), axis=-1)
      return jnp.sqrt(-lax.top_k(-squared, k)[0][-1])

    return -lax.map(kth_distance, (queries, candidates), batch_size=_ROWS)

  return Detector(fit, score)


def _candidates(queries: jax.Array, features: jax.Array, k: int) -> jax.Array:
  """Return the places, shape ``[batch, candidates]``, of the nearest, as far as a product tells."""
  examples = features.shape[0]
  size, block = min(_CANDIDATES * k, examples), min(_BLOCK, examples)

  def merge(i, best):
    # The last block reaches back, to be as large as the others; what it repeats does not count.
    start = jnp.minimum(i * block, examples - block)
    rows = lax.dynamic_slice_in_dim(features, start, block)
    places = (start + jnp.arange(block)).astype(jnp.int32)
    places = jnp.broadcast_to(places, (queries.shape[0], block))
    # Nearer where larger: half of the query's square less half of the squared distance.
    products = jnp.matmul(queries, rows.T, precision=lax.Precision.HIGHEST)
    nearness = products - jnp.sum(jnp.square(rows), axis=-1)[None] / 2
    nearness = jnp.where(places >= i * block, nearness, -jnp.inf)
    nearness, chosen = lax.top_k(jnp.concatenate([best[0], nearness], axis=-1), size)
    return nearness, jnp.take_along_axis(jnp.concatenate([best[1], places], axis=-1), chosen, -1)

  shape = queries.shape[0], size
  none = jnp.full(shape, -jnp.inf, queries.dtype), jnp.zeros(shape, jnp.int32)
  return lax.fori_loop(0, -(-examples // block), merge, none)[1]
