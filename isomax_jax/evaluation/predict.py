"""Batched application of a function to whole arrays, spread over devices and processes."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from isomax_jax import _checks
from isomax_jax._devices import local_job_devices
from isomax_jax.detectors import Classifier
from isomax_jax.typing import Outputs

_A = TypeVar("_A", jax.Array, np.ndarray)


def predict(
  function: Callable[[Any, Any], Any], constants: Any, inputs: Any, *, batch_size: int = 256
) -> Any:
  """Apply a function to all examples, in their order.

  Batches are spread over the local devices, or put on that of a surrounding
  ``jax.default_device``. The last one is padded, so that one program serves all. Several
  processes, which must all call this with the same arguments, each take a share, and all get
  everything.

  Args:
    function: Jitted function of the constants and a batch of the inputs, example by example.
    constants: Tree of arrays that every batch needs, such as parameters and statistics.
    inputs: Tree of arrays, ``[examples, ...]`` each, as are the NumPy arrays that are returned.
    batch_size: Examples at a time, rounded up to a multiple of the devices.

  Raises:
    ValueError: If there are no examples or the batch size is not positive.

  Example:
    >>> double = jax.jit(lambda scale, x: scale * x)
    >>> predict(double, 2.0, np.arange(5.0, dtype=np.float32), batch_size=2)
    array([0., 2., 4., 6., 8.], dtype=float32)
  """
  _checks.positive("batch_size", batch_size)
  examples = len(jax.tree.leaves(inputs)[0])
  if examples == 0:
    raise ValueError("inputs must hold an example or more, got none")
  devices = len(local_job_devices())
  batch_size = -(-batch_size // devices) * devices
  share = -(-examples // jax.process_count())
  first = jax.process_index() * share

  def padded(leaf, start):
    batch = leaf[start : min(start + batch_size, first + share)]
    return np.pad(batch, ((0, batch_size - len(batch)), *((0, 0),) * (batch.ndim - 1)))

  parts = []
  for start in range(first, first + share, batch_size):
    batch = jax.tree.map(lambda leaf, start=start: padded(leaf, start), inputs)
    constants, batch = place(constants, batch)
    results = function(constants, batch)
    kept = min(batch_size, first + share - start)
    parts.append(jax.tree.map(lambda result, kept=kept: np.asarray(result)[:kept], results))
  whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
  if jax.process_count() > 1:
    whole = multihost_utils.process_allgather(whole, tiled=True)
  return jax.tree.map(lambda leaf: leaf[:examples], whole)


def place(constants: Any, batch: Any) -> tuple[Any, Any]:
  """Replicate trees of arrays on the local devices, and spread a batch over them.

  The examples of the batch must be a multiple of the devices.

  Example:
    >>> constants, batch = place(np.ones(3), np.arange(8.0))
    >>> constants.is_fully_replicated, batch.shape
    (True, (8,))
  """
  devices = local_job_devices()

  def local(leaf):
    is_global = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    # It is replicated, so that each process has a copy.
    return leaf.addressable_data(0) if is_global else leaf

  mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
  return (
    jax.device_put(jax.tree.map(local, constants), NamedSharding(mesh, PartitionSpec())),
    jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data"))),
  )


@jax.jit
def forward(classifier: Classifier, images: jax.Array) -> Outputs[jax.Array]:
  """Return a classifier's outputs for stored images, or pixels.

  Example:
    >>> from jax.tree_util import Partial
    >>> classifier = Classifier(Partial(lambda x: Outputs(x, x)), None, {})
    >>> predict(forward, classifier, np.array([[0, 255]], np.uint8)).logits
    array([[0., 1.]], dtype=float32)
  """
  return classifier.outputs(to_pixels(images))


def to_pixels(images: _A) -> _A:
  """Turn stored images, uint8, into pixels of [0, 1]; leave all else as it is.

  Example:
    >>> print(to_pixels(jnp.array([0, 255], jnp.uint8)), to_pixels(jnp.array([0.0, 0.5])))
    [0. 1.] [0.  0.5]
  """
  return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images
