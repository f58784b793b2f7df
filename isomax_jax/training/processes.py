"""Training of one network by several processes, one per host."""

import contextlib
import itertools
import signal
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from isomax_jax.training.interruption import Interrupted, Interruption


@contextlib.contextmanager
def connected(
  *,
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  heartbeat_seconds: int = 100,
) -> Iterator[None]:
  """Connect this process to the others for the context; enter it before anything is computed.

  Args:
    coordinator: Address of process 0, ``"HOST:PORT"``. None, here and for the next two, asks the
      cluster: JAX knows Cloud TPU, SLURM, GKE and MPI.
    num_processes: Number of processes.
    process_id: Number of this process.
    heartbeat_seconds: Seconds without a heartbeat after which a process counts as dead.

  Raises:
    ConnectionError: If the cluster is unknown, the others cannot be reached, or one of them dies
      while this one waits for it. Where JAX itself notices, it ends the process with a message.
  """
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id, heartbeat_timeout_seconds=heartbeat_seconds
    )
  except (RuntimeError, ValueError) as error:
    raise ConnectionError(f"no connection to the other processes: {error}") from error
  try:
    yield
  except Interrupted:  # In all processes.
    jax.distributed.shutdown()
    raise
  except jax.errors.JaxRuntimeError as error:
    raise ConnectionError(
      f"process {jax.process_index()} of {jax.process_count()} lost the others ({error}); start "
      "all of them again, and training goes on from its last checkpoint"
    ) from error
  # Not after an error: it would wait for processes that may be dead before the error shows.
  jax.distributed.shutdown()


def on_first(function: Callable[[], int]) -> int:
  """Run a function on process 0, such as on shared files, and return its result on all processes.

  If it raises there, the others raise RuntimeError.
  """
  if jax.process_count() == 1:
    return function()
  value, error = 0, None
  if jax.process_index() == 0:
    try:
      value = function()
    except Exception as raised:
      error = raised
  failed, value = multihost_utils.broadcast_one_to_all((np.int32(error is not None), value))
  if error is not None:
    raise error
  if failed:
    raise RuntimeError("process 0 has failed, and says why")
  return int(value)


class Preemption(Interruption):
  """The cluster's notice, by SIGTERM, of a preemption, which all processes see at the same step.

  Its truth must be tested once per dispatch.
  """

  def __init__(self):
    super().__init__()
    self._looks = itertools.count()

  def __bool__(self) -> bool:
    if multihost_utils.reached_preemption_sync_point(next(self._looks)):
      self.signal = signal.SIGTERM
    return self.signal is not None
