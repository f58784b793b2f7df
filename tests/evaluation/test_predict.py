import jax
import numpy as np
import pytest

from isomax_jax.evaluation.predict import predict


@pytest.mark.parametrize("examples", [1, 3, 8, 9])
def test_each_example_once_and_in_order(examples):
  sizes = []

  @jax.jit
  def function(constants, inputs):
    sizes.append(inputs["a"].shape[0])
    return inputs["a"] * constants, inputs["b"].sum(-1)

  a = np.arange(examples, dtype=np.float32)
  b = np.arange(2 * examples, dtype=np.float32).reshape(examples, 2)
  doubled, sums = predict(function, 2.0, {"a": a, "b": b}, batch_size=6)
  np.testing.assert_array_equal(doubled, 2 * a)
  np.testing.assert_array_equal(sums, b.sum(-1))
  assert sizes == [8]  # One program: 6 rounded up to the 8 devices.


def test_nothing_to_predict_is_an_error():
  with pytest.raises(ValueError, match="inputs must hold an example or more, got none"):
    predict(lambda constants, inputs: inputs, (), np.zeros((0, 2)))
  with pytest.raises(ValueError, match="batch_size must be a positive"):
    predict(lambda constants, inputs: inputs, (), np.zeros((1, 2)), batch_size=0)
