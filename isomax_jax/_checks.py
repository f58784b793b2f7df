"""Argument checks with one-line errors: TypeError for a dtype, ValueError for a shape or a range.

They look at static properties only, so they run at trace time and cost nothing afterwards.
"""

import reprlib
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, Union, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
from jax import core


def floating(name: str, array: Any) -> jax.Array:
  """Return ``array`` as a JAX array of at least float32, or raise TypeError if not floating.

  Example:
    >>> floating("features", np.float16([0.5]))
    Array([0.5], dtype=float32)
  """
  array = _as_array(name, array)
  if not jnp.issubdtype(array.dtype, jnp.floating):
    raise TypeError(f"{name} must be floating, got dtype {array.dtype}")
  return array.astype(np.promote_types(array.dtype, np.float32))


def integer(name: str, array: Any) -> jax.Array:
  """Return ``array`` as a JAX array, or raise TypeError if it does not hold integers."""
  array = _as_array(name, array)
  if not jnp.issubdtype(array.dtype, jnp.integer):
    raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
  return array


def _as_array(name: str, array: Any) -> jax.Array:
  try:
    return jnp.asarray(array)
  except (TypeError, ValueError) as error:
    kind = f"dtype {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
    raise TypeError(f"{name} must be an array of numbers, got {kind}") from error


def has_classes(name: str, array: jax.Array) -> None:
  """Raise ValueError unless the last axis exists and has at least one class."""
  if array.ndim < 1 or array.shape[-1] < 1:
    raise ValueError(
      f"{name} must have shape [..., classes] with a class or more, got {array.shape}"
    )


def same_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
  """Raise ValueError unless the two shapes are equal."""
  if shape != expected:
    raise ValueError(f"{name} must have shape {expected}, got {shape}")


def positive(name: str, value: Any) -> None:
  """Raise ValueError unless ``value`` is a positive, finite number; a traced one passes.

  Example:
    >>> positive("temperature", 0.0)
    Traceback (most recent call last):
    ValueError: temperature must be a positive, finite number, got 0.0
  """
  if not (_is_traced(value) or (_is_finite(value) and float(value) > 0)):
    raise ValueError(f"{name} must be a positive, finite number, got {value!r}")


def not_negative(name: str, value: Any) -> None:
  """Raise ValueError unless ``value`` is a finite number of 0 or more; a traced one passes.

  Example:
    >>> not_negative("epsilon", -0.5)
    Traceback (most recent call last):
    ValueError: epsilon must be a finite number of 0 or more, got -0.5
  """
  if not (_is_traced(value) or (_is_finite(value) and float(value) >= 0)):
    raise ValueError(f"{name} must be a finite number of 0 or more, got {value!r}")


def count(name: str, value: Any) -> None:
  """Raise ValueError unless ``value`` is a positive integer.

  Example:
    >>> count("k", 0)
    Traceback (most recent call last):
    ValueError: k must be a positive integer, got 0
  """
  if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
    raise ValueError(f"{name} must be a positive integer, got {value!r}")


def percentile(name: str, value: Any) -> None:
  """Raise ValueError unless ``value`` is a number from 0 to 100.

  Example:
    >>> percentile("percentile", 101)
    Traceback (most recent call last):
    ValueError: percentile must be a number from 0 to 100, got 101
  """
  if not isinstance(value, int | float | np.number) or not 0 <= value <= 100:
    raise ValueError(f"{name} must be a number from 0 to 100, got {value!r}")


def one_of(name: str, value: str, known: Collection[str]) -> None:
  """Raise ValueError unless ``value`` is among the known names, which the message lists.

  Example:
    >>> one_of("variant", "t", ("s", "b"))
    Traceback (most recent call last):
    ValueError: unknown variant 't'; known: b, s
  """
  if value not in known:
    raise ValueError(f"unknown {name} {value!r}; known: {', '.join(sorted(known))}")


def typed(name: str, value: Any, expected: Any) -> None:
  """Raise ValueError unless ``value``, which may come from a file, fits an annotation.

  The annotation is a class, or a literal, union, tuple or mapping of such. A bool does not pass as
  an int; an int passes as a float.
  """
  if not _fits(value, expected):
    words = expected.__name__ if isinstance(expected, type) else str(expected)
    words = "a number" if expected is float else words
    raise ValueError(f"{name} must be {words}, got {reprlib.repr(value)}")


def _fits(value: Any, expected: Any) -> bool:
  origin, arguments = get_origin(expected), get_args(expected)
  if expected is Any:
    return True
  if origin is Callable:
    return callable(value)
  if origin is Literal:
    return isinstance(value, str) and value in arguments
  if origin in (Union, types.UnionType):
    return any(_fits(value, argument) for argument in arguments)
  if origin is tuple:
    if not isinstance(value, tuple):
      return False
    if arguments[-1] is Ellipsis:
      arguments = arguments[:1] * len(value)
    return len(value) == len(arguments) and all(map(_fits, value, arguments))
  if origin is not None and issubclass(origin, Mapping):
    return isinstance(value, Mapping) and all(
      _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
    )
  if expected is float:
    expected = int | float
  return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))


def _is_traced(value: Any) -> bool:
  return isinstance(value, core.Tracer) and value.ndim == 0


def _is_finite(value: Any) -> bool:
  try:
    return np.ndim(value) == 0 and np.isrealobj(value) and bool(np.isfinite(value))
  except TypeError:
    return False
