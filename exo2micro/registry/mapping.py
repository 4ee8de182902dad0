"""The dict that makes sure that its classes were discovered before anyone looks at it."""

import functools
from collections.abc import Callable, MutableMapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class DiscoveringDict(dict[str, T], Generic[T]):
    """A dict whose every mapping operation first calls ``_ensure_discovered``.

    The methods are made below from those of `dict`, so that none can be forgotten and all keep
    their signatures. ``_peek``, ``_put`` and ``_drop`` are the way in for registration itself,
    which must never wait for discovery.
    """

    def _ensure_discovered(self) -> None:
        """Discover, unless that was done."""
        raise NotImplementedError

    def _entries_changed(self, before: dict[str, T]) -> None:
        """Take note that a mutating operation changed the entries from ``before``."""

    def _keeps(self, key: str, previous: object, cls: type) -> bool:  # noqa: ARG002 - a hook
        """Whether ``previous`` stays under ``key`` although ``cls`` is defined later."""
        return False

    def _peek(self, key: str) -> T | None:
        return dict.get(self, key)

    def _put(self, key: str, value: T) -> None:
        dict.__setitem__(self, key, value)

    def _put_new(self, key: str, value: T) -> T:
        return dict.setdefault(self, key, value)

    def _drop(self, key: str) -> None:
        dict.pop(self, key, None)

    def _snapshot(self) -> dict[str, T]:
        """All entries so far, as a plain dict, without discovery."""
        return dict.copy(self)

    def __copy__(self) -> dict[str, T]:
        """Return a plain dict, as ``copy()`` does."""
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, T]:
        """Return a plain dict: classes are never copied."""
        return self.copy()


READING = (
    *("__contains__", "__eq__", "__ge__", "__getitem__", "__gt__", "__iter__", "__le__"),
    *("__len__", "__lt__", "__ne__", "__or__", "__repr__", "__reversed__", "__ror__"),
    *("copy", "get", "items", "keys", "values"),
)
MUTATING = (
    *("__delitem__", "__ior__", "__setitem__", "clear", "pop", "popitem", "setdefault", "update"),
)


def _discover_all(mapping: DiscoveringDict[Any], operands: tuple[object, ...]) -> None:
    mapping._ensure_discovered()
    for operand in operands:
        # dict's C code looks into the other operand without asking its methods
        if isinstance(operand, DiscoveringDict):
            operand._ensure_discovered()


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: DiscoveringDict[Any], /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        _discover_all(self, args)
        return method(self, *args, **kwargs)

    return call


def _mutating(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: DiscoveringDict[Any], /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        _discover_all(self, args)
        before = self._snapshot()
        try:
            return method(self, *args, **kwargs)
        finally:
            self._entries_changed(before)

    return call


for _name in READING:
    setattr(DiscoveringDict, _name, _reading(getattr(dict, _name)))
for _name in MUTATING:
    setattr(DiscoveringDict, _name, _mutating(getattr(dict, _name)))


def peek(mapping: MutableMapping[str, Any], key: str) -> Any:  # noqa: ANN401 - a class or a value
    """Return the entry without discovery, None where there is none."""
    return mapping._peek(key) if isinstance(mapping, DiscoveringDict) else mapping.get(key)


def put(mapping: MutableMapping[str, Any], key: str, value: object) -> None:
    """Set an entry without discovery."""
    if isinstance(mapping, DiscoveringDict):
        mapping._put(key, value)
    else:
        mapping[key] = value


def put_new(mapping: MutableMapping[str, Any], key: str, value: object) -> Any:  # noqa: ANN401
    """Set an entry where there is none, in one step, without discovery; return what is there."""
    if isinstance(mapping, DiscoveringDict):
        return mapping._put_new(key, value)
    return mapping.setdefault(key, value)


def drop(mapping: MutableMapping[str, Any], key: str) -> None:
    """Remove an entry, if it is there, without discovery."""
    if isinstance(mapping, DiscoveringDict):
        mapping._drop(key)
    else:
        mapping.pop(key, None)


def entries(mapping: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return all entries so far, without discovery."""
    return mapping._snapshot() if isinstance(mapping, DiscoveringDict) else dict(mapping)
