"""Who may import whom, read from the source: the layers point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "isomax_jax"
BASE = {"_arrays", "_checks", "typing"}
PURE = BASE | {"losses", "scores", "metrics", "decision", "heads"}
LIBRARY = PURE | {"models", "detectors", "data", "training", "evaluation"}

# What each part may import of ours, itself aside. A new part has to say what it stands on.
ALLOWED = {
  "__init__": PURE | {"models", "detectors", "_version"},
  "__main__": {"cli"},
  "_version": set(),
  "typing": set(),
  "_arrays": set(),
  "_checks": set(),
  "_files": set(),
  "_devices": set(),
  "losses": BASE,
  "scores": BASE,
  "metrics": BASE,
  "decision": BASE | {"metrics"},
  "heads": BASE | {"losses"},
  "models": BASE | {"heads"},
  "detectors": BASE | {"losses", "scores"},
  "data": BASE | {"_files"},
  "training": BASE | {"_files", "losses", "scores", "heads", "models"},
  "evaluation": BASE | {"_devices", "_files", "detectors", "metrics", "scores", "decision"},
  "jobs": LIBRARY | {"_devices", "_files", "_version"},
  "cli": LIBRARY | {"_files", "_version", "jobs"},
}

# The only third-party packages of the base install's parts.
PURE_ARRAYS = {"jax", "numpy", "scipy", "jaxtyping"}
THIRD_PARTY = {
  "typing": PURE_ARRAYS,
  "_arrays": PURE_ARRAYS,
  "_checks": PURE_ARRAYS,
  "_devices": PURE_ARRAYS,
  "losses": PURE_ARRAYS,
  "scores": PURE_ARRAYS,
  "metrics": PURE_ARRAYS,
  "decision": PURE_ARRAYS,
  "heads": PURE_ARRAYS | {"flax"},
  "models": PURE_ARRAYS | {"flax"},
  "detectors": PURE_ARRAYS,
}

# Heavy packages and the places that may import them.
CONFINED = {
  "tensorflow": (),
  "tensorflow_datasets": ("data",),
  "grain": ("data",),
  "array_record": (),
  "PIL": ("data",),
  "orbax": ("training",),
  "matplotlib": ("evaluation",),
  "mlxtend": ("data",),
  "sklearn": ("data",),
  "torch": (),
  "tensorboardX": ("training",),
  # What is only for a terminal.
  "tyro": ("cli",),
  "rich": ("cli",),
}


def imports(path):
  """Return the absolute dotted names that a file imports, inside functions too."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def part(path):
  """Return the package or module directly under isomax_jax that a file belongs to."""
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
  own = part(path)
  ours = {name.split(".")[1] for name in imports(path) if name.startswith("isomax_jax.")}
  assert ours - {own} <= ALLOWED[own]
  top = {name.split(".")[0] for name in imports(path)}
  assert not top & {"experiments", "tests"}
  for package, places in CONFINED.items():
    assert package not in top or own in places, f"{package} outside {places}"
  if own in THIRD_PARTY:
    assert top - sys.stdlib_module_names - {"isomax_jax"} <= THIRD_PARTY[own]


def test_walk_sees_imports_inside_functions_and_of_names(tmp_path):
  source = (
    "import a.b\nfrom isomax_jax import scores\ndef f():\n  from isomax_jax.cli import main\n"
  )
  file = tmp_path / "file.py"
  file.write_text(source)
  assert imports(file) == {"a.b", "isomax_jax.scores", "isomax_jax.cli.main"}
  assert part(PACKAGE / "losses" / "_isomax.py") == "losses"
  assert part(PACKAGE / "scores.py") == "scores"
  assert {part(path) for path in FILES} <= set(ALLOWED)


# No rich here: Flax imports it.
HEAVY = (
  "tensorflow tensorflow_datasets grain array_record matplotlib tyro PIL sklearn mlxtend torch "
  "tensorboardX"
)


@pytest.mark.parametrize(
  ("modules", "heavy"),
  [
    ("losses heads heads.nnx metrics scores decision training", f"{HEAVY} orbax"),
    ("jobs.train jobs.trained jobs.evaluate jobs.predict jobs.pool jobs.compile", HEAVY),
  ],
  ids=["base", "jobs"],
)
def test_import_is_light(modules, heavy):
  imported = ", ".join(f"isomax_jax.{module}" for module in modules.split())
  program = f"import sys, {imported}; print(*(set({heavy.split()}) & set(sys.modules)))"
  loaded = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True
  )
  assert loaded.stdout.split() == []
