"""Plugins from other installed distributions, through entry points."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from exo2micro.registry.exceptions import PluginWarning

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)


class Guard(Protocol):
    """Makes the context in which a module is imported: undoes its registrations if it fails."""

    def __call__(self, module_name: str) -> AbstractContextManager[None]:
        """Return the context for the import of ``module_name``."""


def load_entry_points(group: str, guard: Guard) -> Iterator[Any]:
    """Load the entry points of a group and yield the modules and classes behind them.

    Each entry point names a module, or a class in one. Importing it is what registers classes,
    in whichever families they belong to. A distribution that is broken, in whatever way, is
    skipped with a `PluginWarning` that names it, its version and the cause; it never keeps a
    family from working, not even one whose policies are ``error``.
    """
    from importlib.metadata import entry_points  # slow to import, and needed on discovery alone

    for entry_point in sorted(entry_points(group=group), key=lambda e: (e.name, e.value)):
        try:
            with guard(entry_point.value.partition(":")[0].strip()):
                loaded = entry_point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may fail in any way
            msg = (
                f"the plugin {entry_point.name!r} of {_distribution(entry_point)} is skipped: "
                f"loading {entry_point.value!r} failed with {type(error).__name__}: {error}; "
                "update or uninstall that distribution"
            )
            warnings.warn(msg, PluginWarning, stacklevel=2)
            continue
        logger.debug("loaded plugin %s of %s", entry_point.name, _distribution(entry_point))
        yield loaded


def _distribution(entry_point: "EntryPoint") -> str:
    distribution = entry_point.dist
    if distribution is None:
        return "an unknown distribution"
    return f"the distribution {distribution.name} {distribution.version}"
