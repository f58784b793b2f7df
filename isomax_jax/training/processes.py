"""Several processes, one a host, that train one network together."""

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
  """Be one of several processes while the context lasts; before anything is computed.

  Args:
    coordinator: Address of process 0, ``"HOST:PORT"``. None, like the other two, is found out
      from the cluster: Cloud TPU, SLURM, GKE and MPI are known to JAX.
    num_processes: Number of processes.
    process_id: Which of them this is.
    heartbeat_seconds: After how long without a sign of life a process counts as dead.

  Raises:
    ConnectionError: If the cluster is not known, the others cannot be reached, or one of them dies
      while this one waits for it. Where JAX itself notices, it says so and ends the process.
  """
  try:
    jax.distributed.initialize(
      coordinator, num_processes, process_id, heartbeat_timeout_seconds=heartbeat_seconds
    )
  except (RuntimeError, ValueError) as error:
    raise ConnectionError(f"no connection to the other processes: {error}") from error
  try:
    yield
  except Interrupted:  # All processes are.
    jax.distributed.shutdown()
    raise
  except jax.errors.JaxRuntimeError as error:
    raise ConnectionError(
      f"process {jax.process_index()} of {jax.process_count()} lost the others ({error}); start "
      "all of them again, and training goes on from its last checkpoint"
    ) from error
  # After an error it would wait for the others, who may be dead, before a word was said of it.
  jax.distributed.shutdown()


def on_first(function: Callable[[], int]) -> int:
  """Run a function on process 0 while the others wait, and return on all what it returned.

  Args:
    function: What is to be done once, of files that all processes share.

  Raises:
    RuntimeError: On the other processes, if the function raised on process 0.

  Example:
    >>> on_first(lambda: 3)
    3
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
  """The cluster's notice that a process has to go, which all see after the same step.

  It has to be looked at once a dispatch. JAX takes SIGTERM for the notice.
  """

  def __init__(self):
    super().__init__()
    self._looks = itertools.count()

  def __bool__(self) -> bool:
    if multihost_utils.reached_preemption_sync_point(next(self._looks)):
      self.signal = signal.SIGTERM
    return self.signal is not None
