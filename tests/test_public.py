"""Every public function shows how it is used; doctests run all that needs no run directory."""

import importlib
import inspect

PACKAGES = (
  "data", "decision", "detectors", "detectors.toolkit", "evaluation.calibration",
  "evaluation.measure", "evaluation.predict", "evaluation.timing", "heads", "heads.nnx", "losses",
  "metrics", "models", "reporting", "reporting.figures", "reporting.report", "runs", "scores",
  "training", "training.devices",
)  # fmt: skip


def public_functions():
  for package in PACKAGES:
    module = importlib.import_module(f"isomax_jax.{package}")
    for name, value in vars(module).items():
      # Re-exports of a package and of the toolkit are public; what a module imports is not.
      exports = hasattr(module, "__path__") or package == "detectors.toolkit"
      home = "isomax_jax." if exports else module.__name__
      ours = getattr(value, "__module__", "").startswith(home)
      if inspect.isfunction(value) and ours and not name.startswith("_"):
        yield f"{package}.{name}", value


def test_every_public_function_has_an_example():
  functions = dict(public_functions())
  assert len(functions) > 100
  assert [name for name, f in functions.items() if ">>> " not in (inspect.getdoc(f) or "")] == []
