"""Registries of named records, to which other packages can add."""

import contextlib
import pickle
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, get_type_hints

from isomax_jax import _checks


class Named(Protocol):
  """What a registry keeps: something of a name."""

  @property
  def name(self) -> str:
    """The name."""
    ...


E = TypeVar("E", bound=Named)

# Part of files' names, options and keys.
_NAME = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)?")

# Each registry with what was registered in it from outside the package.
_ADDED: list[tuple["Registry", Any]] = []


class Registry(Mapping[str, E]):
  """Records by name: those of the library, and those that others register.

  Args:
    kind: What a record describes, for messages.
    record: Class of the records, whose annotations hold for them.
    place: The registry's ``"MODULE:VARIABLE"``, by which it is pickled.
    entries: The library's own records; each has a ``name``, and maybe a ``label``.
    check: Raises ValueError if a record has values that are not possible.
    reserved: Names that mean something else.
  """

  def __init__(
    self,
    kind: str,
    record: type[E],
    place: str,
    entries: Iterable[E],
    *,
    check: Callable[[E], None] = lambda entry: None,
    reserved: Collection[str] = (),
  ):
    self.kind = kind
    self._record, self._check, self._reserved = record, check, reserved
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
    """Add a record; the same one again, as of a module that is run twice, changes nothing.

    Raises:
      TypeError: If it is a record of something else.
      ValueError: If another one has its name, or its name or a value is not possible.
    """
    if not isinstance(entry, self._record):
      raise TypeError(f"a {self.kind} must be a {self._record.__name__}, got {entry!r}")
    name = entry.name
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in self._reserved:
      reserved = "".join(f" and not {each!r}" for each in self._reserved)
      raise ValueError(
        f"name of a {self.kind} must be of letters, digits, '_', '-', '.' and '+', with a '/' only "
        f"before a configuration{reserved}, got {name!r}"
      )
    try:
      for field, expected in get_type_hints(type(entry)).items():
        _checks.typed(field, getattr(entry, field), expected)
      self._check(entry)
    except ValueError as error:
      raise ValueError(f"{self.kind} {name!r}: {error}") from error
    if self._entries.setdefault(name, entry) != entry:
      raise ValueError(f"another {self.kind} has the name {name!r}: choose another")
    if (self, entry) not in _ADDED:
      _ADDED.append((self, entry))


@contextlib.contextmanager
def all_or_nothing() -> Iterator[None]:
  """Forget what is registered in the context if it ends in an error."""
  before = list(_ADDED)
  try:
    yield
  except BaseException:
    for registry, entry in _ADDED[len(before) :]:
      del registry._entries[entry.name]
    _ADDED[:] = before
    raise


def added() -> list[tuple[Registry, Any]]:
  """Return what was registered from outside the package, for :func:`add_all`.

  Raises:
    ValueError: If a record cannot be sent to another process.
  """
  for registry, entry in _ADDED:
    try:
      pickle.dumps(entry)
    except Exception as error:
      raise ValueError(
        f"{registry.kind} {entry.name!r} cannot be sent to other processes: define its functions "
        f"and classes at the top level of a module ({' '.join(str(error).split())})"
      ) from error
  return list(_ADDED)


def add_all(entries: Iterable[tuple[Registry, Any]]) -> None:
  """Register, in another process, what :func:`added` gave in this one."""
  for registry, entry in entries:
    registry.register(entry)
