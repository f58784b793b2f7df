"""The devices that a job uses."""

import jax

from isomax_jax.typing import Device


def job_devices() -> list[Device]:
  """Return the device of the surrounding ``jax.default_device``, else those of all processes."""
  return _default() or jax.devices()


def local_job_devices() -> list[Device]:
  """Return the device of the surrounding ``jax.default_device``, else those of this process."""
  return _default() or jax.local_devices()


def _default() -> list[Device]:
  # JAX before 0.12 does not declare its options.
  device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
  return [device] if isinstance(device, jax.Device) else []
