"""One function in the ways it is run: plain, compiled, mapped, on four devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

DEVICES = 4


def _plain(function, batched):
  del batched
  return function


def _jit(function, batched):
  del batched
  return jax.jit(function)


def _vmap(function, batched):
  return jax.jit(jax.vmap(function, in_axes=_axes(batched)))


def _pmap(function, batched):
  mapped = jax.pmap(function, in_axes=_axes(batched))

  def call(*arguments):
    arguments = [
      jnp.reshape(x, (DEVICES, -1, *np.shape(x)[1:])) if is_batched else x
      for x, is_batched in zip(arguments, batched, strict=True)
    ]
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), mapped(*arguments))

  return call


def _sharded(function, batched):
  mesh = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))

  def call(*arguments):
    return jax.jit(function)(
      *(
        jax.device_put(
          x, NamedSharding(mesh, PartitionSpec("data") if is_batched else PartitionSpec())
        )
        for x, is_batched in zip(arguments, batched, strict=True)
      )
    )

  return call


def _axes(batched):
  return tuple(0 if is_batched else None for is_batched in batched)


# Each takes a function of arrays to arrays and which arguments have a batch axis in front (as all
# results must), and returns a function of the same arguments and results.
VARIANTS = {"plain": _plain, "jit": _jit, "vmap": _vmap, "pmap": _pmap, "sharded": _sharded}
# The ones that a test of the compiled function does not cover already.
MAPPED = ("vmap", "pmap", "sharded")
