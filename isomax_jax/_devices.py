"""The devices that a job uses."""

import jax


def job_devices() -> list[jax.Device]:
  """Return the device of the surrounding ``jax.default_device``, else those of all processes."""
  return _default() or jax.devices()


def local_job_devices() -> list[jax.Device]:
  """Return the device of the surrounding ``jax.default_device``, else those of this process."""
  return _default() or jax.local_devices()


def _default() -> list[jax.Device]:
  device = jax.config.jax_default_device
  return [device] if isinstance(device, jax.Device) else []
