"""Who may import whom, read from the source: the layers point one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "isomax_jax"
BASE = {"_arrays", "_checks", "_registry", "typing"}
PURE = BASE | {"losses", "scores", "metrics", "decision", "heads"}
LIBRARY = PURE | {"models", "detectors", "data", "training", "evaluation", "reporting"}

# What each part may import of ours, itself aside. A new part has to say what it stands on.
ALLOWED = {
  "__init__": PURE - BASE | {"typing", "models", "detectors", "_version"},
  "__main__": {"cli"},
  "_version": set(),
  "typing": set(),
  "_arrays": set(),
  "_checks": set(),
  "_registry": {"_checks"},
  "_files": set(),
  "_devices": {"typing"},
  "losses": BASE - {"_registry"},
  "scores": BASE - {"_registry"},
  "metrics": BASE - {"_registry"},
  "decision": BASE - {"_registry"} | {"metrics"},
  "heads": BASE | {"losses"},
  "models": BASE | {"heads"},
  "detectors": BASE | {"losses", "scores"},
  "data": BASE | {"_files"},
  "training": BASE | {"_files", "losses", "scores", "heads", "models"},
  "evaluation": BASE - {"_registry"} | {"_devices", "detectors", "metrics", "scores", "decision"},
  "reporting": BASE - {"_registry"}
  | {"_files", "evaluation", "heads", "detectors", "training", "metrics", "scores"},
  "runs": LIBRARY | {"_devices", "_files", "_version"},
  "cli": LIBRARY - BASE | {"_files", "_registry", "runs"},
}

# The only third-party packages of the base install's parts.
PURE_ARRAYS = {"jax", "numpy", "scipy", "jaxtyping"}
THIRD_PARTY = {
  "typing": PURE_ARRAYS,
  "_arrays": PURE_ARRAYS,
  "_checks": PURE_ARRAYS,
  "_registry": set(),
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
  "matplotlib": ("reporting",),
  "jinja2": ("reporting",),
  "markupsafe": ("reporting",),
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


def faults(path):
  """Yield what a file imports and should not."""
  own, names = part(path), imports(path)
  yield from {name.split(".")[1] for name in names if name.startswith("isomax_jax.")} - {
    own, *ALLOWED[own]
  }  # fmt: skip
  top = {name.split(".")[0] for name in names} - {"isomax_jax"}
  yield from top & {"experiments", "tests"}
  yield from (name for name in top if own not in CONFINED.get(name, (own,)))
  yield from top - sys.stdlib_module_names - THIRD_PARTY.get(own, top)


def test_imports_point_one_way():
  assert {str(path): found for path in FILES if (found := [*faults(path)])} == {}


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


def modules(package=PACKAGE):
  """Return the modules of a package by dotted name, with the files they are in."""
  found = {}
  for path in sorted(package.rglob("*.py")):
    words = path.relative_to(package.parent).with_suffix("").parts
    found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
  return found


def graph(package=PACKAGE):
  """Return what each module of a package imports of it, inside functions too.

  What a package exports counts as the package itself: ``from isomax_jax.heads import HEADS`` is an
  import of ``isomax_jax.heads``. A submodule is one, however it is named.
  """
  known = modules(package)

  def module_of(name):
    while name and name not in known:
      name = name.rpartition(".")[0]
    return name

  return {
    module: {found for name in imports(path) if (found := module_of(name))} - {module}
    for module, path in known.items()
  }


def parts_graph(edges, root):
  """Return the graph between the parts directly under the root of a graph of modules."""
  parts = {}
  for module, targets in edges.items():
    own, *_ = module.removeprefix(root).strip(".").split(".")
    others = {target.removeprefix(root).strip(".").split(".")[0] for target in targets}
    parts.setdefault(own, set()).update(others - {own})
  return parts


def cycle(edges):
  """Return a cycle of a graph as a list of its nodes, or None."""
  done, path = set(), []

  def visit(node):
    if node in path:
      return [*path[path.index(node) :], node]
    if node in done:
      return None
    path.append(node)
    for target in sorted(edges.get(node, ())):
      if found := visit(target):
        return found
    done.add(path.pop())
    return None

  return next(filter(None, map(visit, sorted(edges))), None)


def test_no_cycle_between_parts():
  edges = graph()
  assert edges["isomax_jax.training.config"] >= {"isomax_jax.heads", "isomax_jax.models.registry"}
  parts = parts_graph(edges, "isomax_jax")
  assert set(parts) == {part(path) for path in FILES} - {"__init__"} | {""}
  assert cycle(parts) is None


def test_nothing_stands_on_the_command_line():
  parts = parts_graph(graph(), "isomax_jax")
  assert [name for name, targets in parts.items() if "cli" in targets] == ["__main__"]


def test_a_cycle_is_seen(tmp_path):
  root = tmp_path / "root"
  for name, source in {
    "__init__.py": "",
    "a/__init__.py": "from root.a.one import f",
    "a/one.py": "def f():\n  from root import b",
    "b/__init__.py": "from root.b.two import g",
    "b/two.py": "from root.c import x",
    "c.py": "import os",
  }.items():
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(source)
  edges = graph(root)
  assert edges["root.a"] == {"root.a.one"}
  assert edges["root.a.one"] == {"root.b"}
  assert edges["root.b.two"] == {"root.c"}
  assert cycle(parts_graph(edges, "root")) is None
  (root / "c.py").write_text("def h():\n  from root.a import f")
  assert cycle(parts_graph(graph(root), "root")) == ["a", "b", "c", "a"]


# No rich here: Flax imports it.
HEAVY = (
  "tensorflow tensorflow_datasets grain array_record matplotlib jinja2 tyro PIL sklearn mlxtend "
  "torch tensorboardX"
)


@pytest.mark.parametrize(
  ("modules", "heavy"),
  [
    (
      "losses heads heads.nnx metrics scores decision models detectors.toolkit training",
      f"{HEAVY} orbax",
    ),
    ("runs runs.seeds runs.compile runs.quickstart", HEAVY),
  ],
  ids=["base", "runs"],
)
def test_import_is_light(modules, heavy):
  imported = ", ".join(f"isomax_jax.{module}" for module in modules.split())
  program = f"import sys, {imported}; print(*(set({heavy.split()}) & set(sys.modules)))"
  loaded = subprocess.run(
    [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True
  )
  assert loaded.stdout.split() == []
