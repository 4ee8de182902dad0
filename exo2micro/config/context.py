"""The layers through which lazy configurations resolve, and the switch for raw reading.

Both are context variables: each thread and each task of an event loop has its own, so that nothing
that one of them does reaches another.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from exo2micro.config.source import Setting


class Resolver(Protocol):
    """What may be active: anything that knows settings by name."""

    def setting(self, name: str) -> Setting | None:
        """Return value and source of a name, None if it does not set it."""


_ACTIVE: ContextVar[tuple[Resolver, ...]] = ContextVar("exo2micro_layers", default=())
_RAW: ContextVar[tuple[type, ...]] = ContextVar("exo2micro_raw_types", default=())


def active_layers() -> tuple[Resolver, ...]:
    """Return what lazy configurations resolve through now, lowest first."""
    return _ACTIVE.get()


def find_setting(name: str) -> Setting | None:
    """Return value and source of a name in the nearest active layer that sets it."""
    for layer in reversed(_ACTIVE.get()):
        if found := layer.setting(name):
            return found
    return None


@contextmanager
def config_context(*layers: Any) -> Iterator[None]:  # noqa: ANN401
    """Let lazy configurations resolve through further layers while the context lasts.

    Parameters
    ----------
    layers : Layer, Snapshot or configuration
        Lowest first, all above those that are active already. A snapshot is complete, so it hides
        what is below it. A lazy configuration gives the values that are set in it.
    """
    token = _ACTIVE.set((*_ACTIVE.get(), *map(_as_resolver, layers)))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def carrying_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs under the layers that are active now.

    A new thread and a worker process start without any; hand them the function that this returns.
    It can be pickled if `function` can.
    """
    return functools.partial(_run_under, _ACTIVE.get(), function)


def _run_under(
    layers: tuple[Resolver, ...],
    function: Callable[..., Any],
    *args: Any,  # noqa: ANN401
    **kwargs: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    token = _ACTIVE.set(layers)
    try:
        return function(*args, **kwargs)
    finally:
        _ACTIVE.reset(token)


def is_raw(cls: type) -> bool:
    """Tell whether instances of a class are built and read as given, without resolution."""
    raw = _RAW.get()
    return bool(raw) and issubclass(cls, raw)


@contextmanager
def reading_raw(types: tuple[type, ...]) -> Iterator[None]:
    """Switch resolution of these classes off while the context lasts."""
    token = _RAW.set((*_RAW.get(), *types))
    try:
        yield
    finally:
        _RAW.reset(token)


def _as_resolver(layer: Any) -> Resolver:  # noqa: ANN401
    """Return a layer or snapshot itself, a configuration as the layer of its values."""
    from exo2micro.config.lazy import explicit_layer

    resolver: Resolver = layer if hasattr(layer, "setting") else explicit_layer(layer)
    return resolver
