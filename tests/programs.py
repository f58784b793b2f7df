"""What a traced program does, read from its equations."""

import jax


def equations(jaxpr):
  """Yield the equations of a program, those of inner programs too."""

  def is_program(value):
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")

  for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
    yield equation
    for value in jax.tree.leaves(equation.params, is_leaf=is_program):
      if is_program(value):
        yield from equations(value)


def dot_precisions(jaxpr):
  """Return the precision of each matrix product."""
  return [
    equation.params["precision"]
    for equation in equations(jaxpr)
    if equation.primitive.name == "dot_general"
  ]
