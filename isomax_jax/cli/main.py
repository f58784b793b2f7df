"""The command ``isomax-jax``: its subcommands, and failures as one line and an exit code.

Exit codes: 0 done, 1 failed (or some images refused), 2 wrong usage, 130 interrupted.
"""

import importlib
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from isomax_jax._files import printable
from isomax_jax.cli.extensions import load_extensions, split_imports

_COMMANDS = (
  "quickstart", "train", "evaluate", "benchmark", "predict", "report", "prepare", "compile", "data",
)  # fmt: skip
"""Each is a module beside this one, and the function of the same name in it."""

# What a command may miss, by the extra that brings it.
_PACKAGES_OF_EXTRA = {
  "train": "tyro rich orbax tensorflow_datasets array_record PIL scipy grain filelock",
  "tpu-aot": "libtpu",
  "plots": "matplotlib jinja2 markupsafe",
  "quickstart": "mlxtend sklearn",
  "tensorboard": "tensorboardX",
}

_LONGEST_MESSAGE = 1000

_DESCRIPTION = """Train classifiers that know what they don't know.

Start here: isomax-jax quickstart
Each command explains itself: isomax-jax train --help
With --import MODULE, any command knows the heads, detectors, objectives, networks and sets that a
module of yours registers. With --debug, a failure shows where it came from.
"""


def main(arguments: list[str] | None = None) -> None:
  """Run the command line with the arguments, by default the process's own, and exit."""
  guard("isomax-jax", _run, arguments)


def guard(program: str, run: Callable[[list[str]], int], arguments: list[str] | None) -> NoReturn:
  """Run a command and exit: a failure becomes one line that starts with the program's name.

  Args:
    program: Name of the program.
    run: Function of the arguments, without ``--debug`` and ``--import MODULE``, to the exit code.
    arguments: The arguments; None takes the process's own.
  """
  arguments = sys.argv[1:] if arguments is None else arguments
  debug = "--debug" in arguments
  try:
    modules, others = split_imports([word for word in arguments if word != "--debug"])
    load_extensions(modules)
    code = run(others)
  except KeyboardInterrupt:
    code = _fail(program, "interrupted", 130)
  except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    extras = [extra for extra, names in _PACKAGES_OF_EXTRA.items() if package in names.split()]
    if debug or not extras:
      raise
    code = _fail(
      program, f"the package {package} is missing: pip install 'isomax_jax[{extras[0]}]'", 1
    )
  except BrokenPipeError:
    sys.stderr.close()  # The reader of a pipe has gone: nothing is left to say.
    code = 1
  except Exception as error:
    if debug:
      traceback.print_exc()
    code = _report(program, error)
  sys.exit(code)


def _run(arguments: list[str]) -> int:
  import tyro

  from isomax_jax.cli.config import OPTIONS
  from isomax_jax.runs.environment import keep_compiled_programs
  from isomax_jax.training.checkpoints import silence

  commands = {
    name: getattr(importlib.import_module(f"isomax_jax.cli.{name}"), name) for name in _COMMANDS
  }
  silence()
  keep_compiled_programs()
  return tyro.extras.subcommand_cli_from_dict(
    commands, prog="isomax-jax", description=_DESCRIPTION, args=arguments, registry=OPTIONS
  )


def _report(program: str, error: Exception) -> int:
  """Print in one line what went wrong and return the exit code."""
  from isomax_jax.training.interruption import Interrupted

  if isinstance(error, Interrupted):
    return _fail(program, f"{error}; everything is saved", 128 + (error.signal or signal.SIGINT))
  message = printable(" ".join(str(error).split()))[:_LONGEST_MESSAGE] or "failed"
  # Of one line are notes of the library; JAX's have several.
  for note in [each for each in getattr(error, "__notes__", []) if "\n" not in each]:
    message += f", {note}"
  if not isinstance(error, (ValueError, OSError, FloatingPointError)):
    message = f"{type(error).__name__}: {message} (this may be a bug; --debug shows where)"
  return _fail(program, message, 1)


def _fail(program: str, message: str, code: int) -> int:
  print(f"{program}: {message}", file=sys.stderr)
  return code
