import os
import pickle
import signal

import pytest

from isomax_jax.training.interruption import Interrupted, listen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_handlers_come_back(number):
  before = signal.getsignal(number)
  with listen() as interruption:
    assert not interruption
    os.kill(os.getpid(), number)
    assert interruption
    assert interruption.signal == number
    assert signal.getsignal(number) == before  # A second one acts as it always does.
  assert signal.getsignal(number) == before


def test_it_travels_between_processes():
  error = pickle.loads(pickle.dumps(Interrupted("stopped at step 3", signal.SIGINT)))
  assert (str(error), error.signal) == ("stopped at step 3", signal.SIGINT)
