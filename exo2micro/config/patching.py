"""Working on lazy configurations as they were written: building and reading without resolution."""

import importlib
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from exo2micro.config.context import reading_raw
from exo2micro.config.lazy import LAZY_TYPES, LazyResolution, has_lazy_resolution

_FOUND: dict[str, tuple[tuple[int, ...], tuple[type, ...]]] = {}
"""Module name, empty for all -> the identities of what it held, and the lazy types among it."""


def discover_lazy_dataclass_types(module: types.ModuleType | str | None = None) -> tuple[type, ...]:
    """Return the lazy dataclasses of a module, or all of this process.

    The result is kept until the module holds something else.

    Parameters
    ----------
    module : module or str, optional
        The module or its name.
    """
    if isinstance(module, str):
        module = importlib.import_module(module)
    name = module.__name__ if module is not None else ""
    content = list(vars(module).values()) if module is not None else list(LAZY_TYPES)
    state = tuple(sorted(map(id, content)))
    known, found = _FOUND.get(name, ((), ()))
    if known != state:
        lazy = (v for v in content if isinstance(v, type) and has_lazy_resolution(v))
        found = tuple(dict.fromkeys(lazy))
        _FOUND[name] = (state, found)
    return found


@contextmanager
def patch_lazy_constructors(types: Iterable[type] | None = None) -> Iterator[None]:
    """Let lazy constructors keep exactly what is given, and attributes read as they are set.

    No class is changed: the switch belongs to the running thread or task, so nothing that others do
    at the same time is affected, and leaving the context always undoes it.

    Parameters
    ----------
    types : iterable of type, optional
        The lazy dataclasses concerned; by default all, also those made meanwhile.

    Raises
    ------
    TypeError
        If one of them is not lazy.
    """
    with reading_raw((LazyResolution,) if types is None else _lazy_only(types)):
        yield


@contextmanager
def patch_specific_types(types: Iterable[type]) -> Iterator[None]:
    """As `patch_lazy_constructors`, for these types and no others."""
    with reading_raw(_lazy_only(types)):
        yield


def _lazy_only(types: Iterable[Any]) -> tuple[type, ...]:
    """Return the types, all of which must be lazy."""
    chosen = tuple(types)
    for cls in chosen:
        if not (isinstance(cls, type) and has_lazy_resolution(cls)):
            msg = f"{cls!r} is no lazy dataclass, so there is nothing to patch in it"
            raise TypeError(msg)
    return chosen
