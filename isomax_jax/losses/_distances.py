"""Euclidean distances to prototypes: matmul speed, direct-difference accuracy where it matters."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from isomax_jax import _checks
from isomax_jax._arrays import add_leading_axes, is_class, is_explicitly_sharded
from isomax_jax.typing import FeaturesLike, PrototypesLike

# A float32 matmul gives |f|² + |p|² - 2 f·p within this fraction of |f|² + |p|², times the square
# root of the width: six standard deviations where products are added up one by one, as some kernels
# do at 512, and several times what kernels do that add up in blocks.
_RESOLUTION = 1.2e-7
# A few terms have few roundings, but those do not average out.
_LEAST_RESOLUTION = 1e-6
# How far the distances may miss, relative, that are not differenced.
_TOLERANCE = 1e-5
# Rows × classes × features up to which every pair is differenced: no loop, all digits. On CPUs that
# is about how far it takes no longer than a product: .5 to .9 of its time at 1 × 10 × 512, 1.0 at
# 64 × 2 × 64, but 1.4 to 2.3 at 64 × 10 × 512. Accelerators fuse the difference into its sum; their
# bounds are estimates.
_LARGEST_DIRECT = {"cpu": 2**13, "cuda": 2**29, "tpu": 2**29}
# Classes × features up to which an export with a symbolic batch differences every pair.
_LARGEST_DIRECT_EXPORTED = 2**16


def pairwise_distance(
  features: FeaturesLike, prototypes: PrototypesLike
) -> Float[Array, "*batch classes"]:
  r"""Compute the Euclidean distance of each feature vector to each prototype.

  .. math:: d_j = \lVert f - p_j \rVert

  The two nearest prototypes of each row are within 1e-5 relative. Every other distance is
  within :math:`r (\lVert f - c \rVert^2 + \lVert p_j - c \rVert^2) / d_j` absolute,
  :math:`c` being the mean prototype, up to rounding; :math:`r` is :math:`10^{-6}`, or
  :math:`1.2 \cdot 10^{-7}` times the square root of the number of features where that is more, from
  70 on. (Rounding that points one way throughout, as in vectors of thousands of equal components,
  can cost several times that.) All matrix products run
  at the highest precision, whatever the default. The gradient is :math:`(f - p_j) / d_j` with
  that distance and a difference within
  :math:`10^{-6} (\lVert f - c \rVert + \lVert p_j - c \rVert)`; at :math:`f = p_j`, where the
  norm has none, it is zero. Vectors that are themselves products in the same compiled program may
  be taken before they are rounded, and distances are then of those.

  Up to :math:`2^{13}` rows × classes × features on CPUs and :math:`2^{29}` on GPUs and TPUs every
  pair is differenced. Larger sizes go by a matrix product and a loop, which rarely has a pass to
  make; a program that is exported with a fixed batch has the loop too. Prototypes so close together
  that the product cannot tell which are a row's two nearest cost a pass over all rows each, so that
  hundreds of them take many times as long.

  In float32 this holds for vectors of norms up to 1e18 and distances from 1e-14. Squares of
  larger ones overflow: such a distance is infinite or NaN, and so are its derivatives. Squares of
  smaller ones underflow: such a distance may come out as small as zero, with a zero gradient. A
  feature vector beyond that spoils its own row and the prototypes' gradient; a prototype beyond it,
  or one that is not finite, may make all distances and gradients NaN.

  With a symbolic batch (:mod:`jax.export`) and more than :math:`2^{16}` classes × features, the
  program has no loop, which other runtimes may lack, and at most two distances a row are refined:
  among three or more prototypes that are too close together for a matrix product to tell apart,
  others than the two nearest may be, and the two nearest then have the bound of the others.

  Args:
    features: Feature vectors, shape ``[..., features]``, floating. Along explicit axes of a mesh
      they may be sharded as a linear layer's input; so may the prototypes be, over classes too.
    prototypes: One prototype a class, shape ``[classes, features]``, floating.

  Returns:
    Distances, shape ``[..., classes]``; at least float32.

  Raises:
    TypeError: If an argument is not floating.
    ValueError: If the shapes do not fit together, or there is no class.

  Example:
    >>> import jax.numpy as jnp
    >>> prototypes = jnp.array([[0.0, 0.0], [3.0, 0.0]])
    >>> print(pairwise_distance(jnp.array([0.0, 4.0]), prototypes))
    [4. 5.]
  """
  features, prototypes = checked_vectors(features, prototypes)
  return _distances(_choose_forms, features, prototypes)


def checked_vectors(
  features: FeaturesLike, prototypes: PrototypesLike
) -> tuple[jax.Array, jax.Array]:
  """Return both in one dtype, at least float32; raise unless their shapes fit together."""
  features = _checks.floating("features", features)
  prototypes = _checks.floating("prototypes", prototypes)
  if prototypes.ndim != 2 or prototypes.shape[0] < 1:
    raise ValueError(
      f"prototypes must have shape [classes, features] with a class or more, got {prototypes.shape}"
    )
  if features.ndim < 1 or features.shape[-1] != prototypes.shape[-1]:
    raise ValueError(
      f"features must have shape [..., {prototypes.shape[-1]}] to fit prototypes of shape "
      f"{prototypes.shape}, got {features.shape}"
    )
  dtype = np.promote_types(features.dtype, prototypes.dtype)
  features, prototypes = features.astype(dtype), prototypes.astype(dtype)
  return features, _lay_beside(features, prototypes)


def _lay_beside(features: jax.Array, prototypes: jax.Array) -> jax.Array:
  """Return prototypes laid out so that explicitly sharded features can be compared with them.

  Each lies whole on the mesh; classes stay sharded, unless along an axis that the features use.
  """
  of_features, of_prototypes = (jax.typeof(array).sharding for array in (features, prototypes))
  mesh = of_prototypes.mesh if of_features.mesh.empty else of_features.mesh
  if AxisType.Explicit not in mesh.axis_types:
    return prototypes
  classes, _ = (*of_prototypes.spec, None, None)[:2]
  used = {axis for axes in of_features.spec for axis in _names(axes)}
  classes = None if used & set(_names(classes)) else classes
  return jax.sharding.reshard(prototypes, NamedSharding(mesh, PartitionSpec(classes, None)))


def _names(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
  """Return the mesh axes that an array's axis is sharded along."""
  return (axes,) if isinstance(axes, str) else axes or ()


# Features [..., features] and prototypes [classes, features] to distances [..., classes].
_Form = Callable[[jax.Array, jax.Array], jax.Array]


class _Forms(NamedTuple):
  """How distances are computed on each platform."""

  cpu: _Form
  cuda: _Form
  tpu: _Form


def _choose_forms(features_shape: tuple[int, ...], prototypes_shape: tuple[int, int]) -> _Forms:
  """Choose by what is known of the sizes when a program is traced."""
  *batch, _ = features_shape
  if not all(isinstance(size, int) for size in prototypes_shape):
    return _Forms(*[_by_product_without_loop] * len(_LARGEST_DIRECT))
  if not all(isinstance(size, int) for size in batch):
    # One form for every platform: what is exported may be translated to other runtimes.
    direct = math.prod(prototypes_shape) <= _LARGEST_DIRECT_EXPORTED
    return _Forms(*[_direct if direct else _by_product_without_loop] * len(_LARGEST_DIRECT))
  components = math.prod(batch) * math.prod(prototypes_shape)
  return _Forms(
    **{
      platform: _direct if components <= largest else _by_product
      for platform, largest in _LARGEST_DIRECT.items()
    }
  )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
@functools.partial(jax.jit, static_argnums=0)  # or each call outside jit compiles the loop anew
def _distances(
  choose: Callable[..., _Forms], features: jax.Array, prototypes: jax.Array
) -> jax.Array:
  """Return distances ``[..., classes]`` of ``[..., features]`` to ``[classes, features]``."""

  @jax.custom_batching.custom_vmap
  def distances(features, prototypes):
    return _by_forms(choose(features.shape, prototypes.shape), features, prototypes)

  @distances.def_vmap
  def _(axis_size, in_batched, features, prototypes):
    # Rows that are mapped over count too: choose again.
    rows_mapped, prototypes_mapped = in_batched
    if not prototypes_mapped:
      return distances(features, prototypes), True
    shape = features.shape if rows_mapped else (axis_size, *features.shape)
    forms = choose(shape, prototypes.shape[1:])
    mapped = jax.vmap(functools.partial(_by_forms, forms), (0 if rows_mapped else None, 0))
    return mapped(features, prototypes), True

  return distances(features, prototypes)


def _by_forms(forms: _Forms, features: jax.Array, prototypes: jax.Array) -> jax.Array:
  """Return distances by the form of the platform that it is compiled for."""
  if len(set(forms)) == 1:
    return forms.cpu(features, prototypes)
  return lax.platform_dependent(features, prototypes, **forms._asdict(), default=forms.cuda)


@functools.partial(_distances.defjvp, symbolic_zeros=True)
def _distances_jvp(choose, primals, tangents):
  # Two matmuls forward and, transposed, two backward: with w = g / d the cotangent of f is
  # f Σ_j w_j + w q. Differencing every pair instead takes a [..., classes, features] array.
  features_dot, prototypes_dot = tangents
  distances = _distances(choose, *primals)
  f, q = _centre(*primals)
  # Terms of a tangent that is zero are left out: a product with zeros costs as much as another, and
  # XLA on CPUs may take it from uninitialised memory.
  rows, products = [], []
  if not isinstance(features_dot, SymbolicZero):
    rows.append(_inner_products(f, features_dot))
    products.append(jnp.matmul(features_dot, q.T, precision=lax.Precision.HIGHEST))
  if not isinstance(prototypes_dot, SymbolicZero):
    q_dot = -prototypes_dot
    rows.append(add_leading_axes(_inner_products(q, q_dot)[:, 0], distances.ndim))
    products.append(jnp.matmul(f, q_dot.T, precision=lax.Precision.HIGHEST))
  along = functools.reduce(jnp.add, rows + products)
  # The inner `where` keeps derivatives of the division finite in the branch that is not taken.
  zero = distances == 0
  inverse = jnp.where(zero, 0, 1 / jnp.where(zero, 1, distances))
  # An overflow must not look like a gradient of zero.
  inverse = jnp.where(distances == jnp.inf, jnp.nan, inverse)
  return distances, inverse * along


def _direct(features: jax.Array, prototypes: jax.Array) -> jax.Array:
  """Difference every pair."""
  features = features[..., None, :]
  return jnp.sqrt(_squares(features - add_leading_axes(prototypes, features.ndim))[..., 0])


def _by_product(
  features: jax.Array, prototypes: jax.Array, *, passes: int | None = None
) -> jax.Array:
  """Take a matrix product, and what cancelled and may be a row's two nearest by direct difference.

  One pass differences one prototype a row. Features that keep their distance, the usual case,
  need no pass; one that sits on a prototype needs one; twins need one each.

  Args:
    features: Shape ``[..., features]``.
    prototypes: Shape ``[classes, features]``.
    passes: How many passes there are, without a loop; None takes as many as are needed.
  """
  f, q = _centre(features, prototypes)
  products = jnp.matmul(f, q.T, precision=lax.Precision.HIGHEST)
  of_features, of_prototypes = _squares(f), add_leading_axes(_squares(q)[:, 0], products.ndim)
  # Not by the math module: an export's width may be symbolic.
  width = jnp.asarray(f.shape[-1], f.dtype)
  resolution = jnp.maximum(_RESOLUTION * jnp.sqrt(width), _LEAST_RESOLUTION)
  well_conditioned = resolution / (2 * _TOLERANCE)

  def lower_bound(distances):
    return jnp.square(distances) - resolution * of_features - resolution * of_prototypes

  def refine(carry):
    distances, nearest, second, _ = carry
    # A row that has nothing left takes its first prototype, which does no harm.
    chosen = jnp.argmin(jnp.where(distances < 0, lower_bound(distances), jnp.inf), axis=-1)
    # The original vectors: centred ones have been rounded, by more than a small distance bears.
    direct = _squares(features - _take(prototypes, chosen))
    second = jnp.minimum(second, jnp.maximum(nearest, direct))
    nearest = jnp.minimum(nearest, direct)
    # What lies above two refined distances for certain is not among the two nearest.
    beyond = lower_bound(distances) > second
    distances = jnp.where(beyond, jnp.abs(distances), distances)
    distances = jnp.where(is_class(chosen, prototypes.shape[0]), jnp.sqrt(direct), distances)
    return distances, nearest, second, jnp.any(distances < 0)

  squared = jnp.maximum(2 * products + of_features + of_prototypes, 0)
  # A minus marks what cancelled and is yet to be settled, which saves a mask; so it must not be 0.
  cancelled = squared < well_conditioned * of_features + well_conditioned * of_prototypes
  distances = jnp.sqrt(squared)
  distances = jnp.where(cancelled, -jnp.maximum(distances, 1e-19), distances)
  unknown = jnp.full_like(of_features, jnp.inf)
  # With squares that are finite no distance is NaN, and a minimum takes less time than ``any``.
  finite = jnp.all(jnp.isfinite(of_features)) & jnp.all(jnp.isfinite(of_prototypes))
  unsettled = ~finite | jnp.any(jnp.min(distances, axis=-1) < 0)
  carry = distances, unknown, unknown, unsettled
  if passes is None:
    return lax.while_loop(lambda carry: carry[-1], refine, carry)[0]
  for _ in range(passes):
    carry = refine(carry)
  return jnp.abs(carry[0])


_by_product_without_loop = functools.partial(_by_product, passes=2)


def _centre(features: jax.Array, prototypes: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Return ``f - c`` and ``c - p``, whose sum is the difference; ``c`` is the mean prototype.

  Distances do not change, and a far-off cluster does not cancel. With this sign of the second
  no product below is subtracted, so that no negated copy of ``[..., classes]`` is made.
  """
  # Scaled before they are added: a scale at the end compilers fuse into each of the differences,
  # one of which may then be of an unrounded mean, and the difference of two means is an error.
  mean = jnp.sum(prototypes / prototypes.shape[0], axis=0)
  mean = lax.optimization_barrier(lax.stop_gradient(mean))
  return features - add_leading_axes(mean, features.ndim), mean[None, :] - prototypes


def _inner_products(vectors: jax.Array, others: jax.Array) -> jax.Array:
  """Return the inner product of each vector with its other, shape ``[..., 1]``."""
  # By a product with ones: XLA on CPUs (jaxlib 0.10) misreads vectors that multiply others with one
  # more leading axis inside a sum, where that sum is broadcast to more than 2^15 numbers. Tangents
  # of a Jacobian are such others.
  ones = jnp.ones((vectors.shape[-1], 1), vectors.dtype)
  return jnp.matmul(vectors * others, ones, precision=lax.Precision.HIGHEST)


def _squares(vectors: jax.Array) -> jax.Array:
  return jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)


def _take(prototypes: jax.Array, chosen: jax.Array) -> jax.Array:
  """Return the chosen prototypes, shape ``[..., features]``."""
  if not is_explicitly_sharded(prototypes):
    return prototypes[chosen]
  # A gather must be given its sharding, which vmap hides; a product infers it.
  is_chosen = is_class(chosen, prototypes.shape[0]).astype(prototypes.dtype)
  return jnp.matmul(is_chosen, prototypes, precision=lax.Precision.HIGHEST)
