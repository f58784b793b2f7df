"""The conventions of the public functions, held by walking them."""

import inspect
import re

from isomax_jax import losses, scores

SECTIONS = ("Args", "Returns", "Raises", "Example")


def public_functions(module):
  return {
    f"{module.__name__}.{name}": value
    for name, value in vars(module).items()
    if inspect.isfunction(inspect.unwrap(value)) and not name.startswith("_")
  }


FUNCTIONS = public_functions(losses) | public_functions(scores)


def of_every_function(test):
  """Make one test of what must hold of each function; a failure names the function."""

  def test_all():
    failed = {}
    for name, function in FUNCTIONS.items():
      try:
        test(function)
      except AssertionError as error:
        failed[name] = error
    assert not failed

  return test_all


def section(function, name):
  """Return the body of a docstring's section, or None."""
  document = inspect.getdoc(function)
  found = re.search(rf"^{name}:\n(.*?)(?=^\S|\Z)", document, re.DOTALL | re.MULTILINE)
  return found and inspect.cleandoc(found[1])


def test_the_promised_names_are_there():
  promised = {
    "losses": (
      "pairwise_distance", "isomax_logits", "isomax_plus_logits", "dismax_logits",
      "scaled_cross_entropy", "outlier_exposure",
    ),
    "scores": ("maximum_probability", "entropic_score", "max_logit", "energy", "mmles"),
  }  # fmt: skip
  for module, names in promised.items():
    for name in names:
      assert f"isomax_jax.{module}.{name}" in FUNCTIONS


@of_every_function
def test_one_line_says_what_it_computes(function):
  first, blank, *_ = inspect.getdoc(function).split("\n")
  assert re.fullmatch(r"Compute [^.]*\.", first)
  assert blank == ""
  assert ".. math::" in inspect.getdoc(function)


@of_every_function
def test_sections_in_order(function):
  document = inspect.getdoc(function)
  places = [document.find(f"\n{name}:\n") for name in SECTIONS]
  assert all(place > 0 for place in places), dict(zip(SECTIONS, places, strict=True))
  assert places == sorted(places)


@of_every_function
def test_arguments_are_documented_with_their_shapes(function):
  documented = re.findall(r"^(\w+): ", section(function, "Args"), re.MULTILINE)
  parameters = inspect.signature(function).parameters
  assert documented == list(parameters)
  for name in ("features", "prototypes", "logits", "labels"):
    if name in parameters:
      assert re.search(rf"^{name}: .*?shape ``\[", section(function, "Args"), re.M | re.S)
  assert re.search(r"shape ``\[", section(function, "Returns"))


@of_every_function
def test_raises_name_an_error(function):
  errors = re.findall(r"^(\w+): If ", section(function, "Raises"), re.MULTILINE)
  assert set(errors) == {"TypeError", "ValueError"}


@of_every_function
def test_example_runs_in_a_doctest(function):
  assert ">>> " in section(function, "Example")


@of_every_function
def test_arrays_by_position_and_options_by_keyword(function):
  parameters = inspect.signature(function).parameters.values()
  arrays = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
  options = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
  assert len(arrays) + len(options) == len(parameters), "*args or **kwargs"
  assert 1 <= len(arrays) <= 3
  assert all(p.default is p.empty for p in arrays)
  assert all(p.default is not p.empty for p in options)


@of_every_function
def test_parameters_and_result_are_annotated(function):
  signature = inspect.signature(function)
  assert all(p.annotation is not p.empty for p in signature.parameters.values())
  assert signature.return_annotation is not signature.empty
