"""Where a peer can be measured: on the device that the library is measured on, or not at all."""

import jax

from experiments.benchmarks import _timing


def find_torch_device(contender: str) -> str | None:
  """Return PyTorch's name of the device that JAX computes on.

  Args:
    contender: What is left out, and said to be, where PyTorch is missing or has no such device.
  """
  if _timing.left_out(contender, "torch"):
    return None
  import torch

  device = {"cpu": "cpu", "gpu": "cuda"}.get(jax.default_backend())
  if device is None or (device == "cuda" and not torch.cuda.is_available()):
    print(f"{contender}: left out, as PyTorch has no {jax.devices()[0].device_kind}")
    return None
  return device
