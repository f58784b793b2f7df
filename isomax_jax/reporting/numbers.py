"""Numbers as text: a mean with what it varies by, the same in tables, figures and pages."""

import math


def mean_text(
  mean: float,
  deviation: float | None = None,
  *,
  factor: float = 1,
  digits: int = 1,
  signed: bool = False,
) -> str:
  """Write a mean and, after ±, its standard deviation or error.

  Args:
    mean: The mean.
    deviation: What stands after ±; None or NaN, as of a single value, leaves it out.
    factor: What both are multiplied by; 100 writes percent.
    digits: Digits after the point.
    signed: Whether a positive mean, such as a difference, has a sign too.

  Returns:
    The text, with commas between thousands.

  Example:
    >>> mean_text(0.98, 0.0141, factor=100), mean_text(0.5, digits=2, signed=True)
    ('98.0 ± 1.4', '+0.50')
  """
  text = f"{factor * mean:{'+' if signed else ''},.{digits}f}"
  if deviation is None or math.isnan(deviation):
    return text
  return f"{text} ± {factor * deviation:,.{digits}f}"
