"""Registries of named records, to which other packages can add."""

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

E = TypeVar("E")

# Each registry with what was registered in it from outside the package.
_ADDED: list[tuple["Registry", Any]] = []


class Registry(Mapping[str, E]):
  """Records by name: those of the library, and those that others register.

  Args:
    kind: What a record describes, for messages.
    place: The registry's ``"MODULE:VARIABLE"``, by which it is pickled.
    entries: The library's own records; each has a ``name``, and maybe a ``label``.
  """

  def __init__(self, kind: str, place: str, entries: Iterable[E]):
    self.kind = kind
    self._place = place
    self._entries = {entry.name: entry for entry in entries}

  def __getitem__(self, name: str) -> E:
    return self._entries[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._entries)

  def __len__(self) -> int:
    return len(self._entries)

  def __reduce__(self):
    return pkgutil.resolve_name, (self._place,)

  def find(self, name: str, *, argument: str | None = None, others: Iterable[str] = ()) -> E:
    """Return a record, or raise ValueError that calls it ``argument`` and lists the known names.

    The others are names that are known and have no record.
    """
    if name not in self._entries:
      known = ", ".join(sorted([*self, *others]))
      raise ValueError(
        f"unknown {argument or self.kind} {name!r}; known: {known}; one from "
        "outside is known once its module is imported, in a shell by --import MODULE"
      )
    return self._entries[name]

  def label(self, name: str) -> str:
    """Return a record's name in tables and figures; an unknown name stays as it is."""
    return getattr(self._entries.get(name), "label", name)

  def register(self, entry: E) -> None:
    """Add a record, or raise ValueError if another one has its name or it cannot be a name.

    The same record again, as of a module that is run twice, changes nothing.
    """
    name = entry.name
    if not isinstance(name, str) or not name or set(name) & set("|:, \n"):
      raise ValueError(
        f"name of a {self.kind} must be a word without '|', ':' and ',', got {name!r}"
      )
    if self._entries.setdefault(name, entry) != entry:
      raise ValueError(f"another {self.kind} has the name {name!r}: choose another")
    if (self, entry) not in _ADDED:
      _ADDED.append((self, entry))


def added() -> list[tuple[Registry, Any]]:
  """Return what was registered from outside the package, for :func:`add_all`."""
  return list(_ADDED)


def add_all(entries: Iterable[tuple[Registry, Any]]) -> None:
  """Register, in another process, what :func:`added` gave in this one."""
  for registry, entry in entries:
    registry.register(entry)
