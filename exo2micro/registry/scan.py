"""Imports all that may hold plugins of one family, and follows the files on reload."""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from exo2micro.registry.config import RegistryConfig
from exo2micro.registry.discovery import import_modules, import_plugin_module, own_classes
from exo2micro.registry.enrolment import is_registrable, register_class, registration_key
from exo2micro.registry.exceptions import DiscoveryError
from exo2micro.registry.mapping import drop, entries, peek, put
from exo2micro.registry.plugins import load_entry_points
from exo2micro.registry.secondary import empty_secondaries, fill_secondaries

if TYPE_CHECKING:
    from exo2micro.registry.family_cache import FamilyCache

logger = logging.getLogger(__name__)

FileState: TypeAlias = tuple[int, int] | None
"""Modification time in ns and size of a module's file; None where there is no file."""


class FamilyScanner:
    """Imports the plugins of one family; importing is what registers them.

    Parameters
    ----------
    base_class : type
        The family's base class.
    config : RegistryConfig
        The family's configuration.
    enable_cache : bool
        Whether to remember between processes which modules of the package hold plugins.
    """

    def __init__(self, base_class: type, config: RegistryConfig, *, enable_cache: bool) -> None:
        self._base_class = base_class
        self._config = config
        self._enable_cache = enable_cache and config.discovery_function is None
        self._files: dict[str, FileState] = {}

    def scan(self) -> None:
        """Import the package's modules, or those that the cache names, then the entry points."""
        importlib.invalidate_caches()  # a file may be younger than the finders' view of its folder
        package = self._config.discovery_package
        if package is not None:
            self._scan_package(package)
            self._files = self._file_states(package)
        if self._config.entry_point_group is not None:
            for loaded in load_entry_points(self._config.entry_point_group, self._guard):
                self._adopt([loaded] if isinstance(loaded, type) else self._classes(loaded))

    def rescan(self) -> None:
        """Follow the files: forget removed and changed modules, then import what there is.

        Classes of unchanged modules stay, and come back where they had been unregistered. The
        module of the base class and ``__init__`` modules are never imported anew: that would
        make a second family.
        """
        for name, known in self._files.items():
            module = sys.modules.get(name)
            if module is None or _file_state(module) == known:
                continue
            if name == self._base_class.__module__ or hasattr(module, "__path__"):
                logger.warning("module %s was changed: start a new process to use it", name)
                continue
            self._forget(module)
        self.scan()
        for name in self._files:
            self._adopt(self._classes(sys.modules.get(name)))

    def _scan_package(self, package: str) -> None:
        path = _import_package(package, self._config.registry_name)
        if path is None:
            return
        if self._config.discovery_function is not None:
            self._call_discovery_function(package, path)
            return
        cache = self._open_cache(package) if self._enable_cache else None
        if cache is None:
            self._import_all(package, path)
        elif not cache.restore() and self._import_all(package, path):
            cache.save()

    def _open_cache(self, package: str) -> "FamilyCache | None":
        from exo2micro.registry.family_cache import FamilyCache  # brings modules for this alone

        try:
            return FamilyCache(package, self._base_class, self._config)
        except OSError as error:
            logger.warning("%s is discovered without a cache: %s", package, error)
            return None

    def _call_discovery_function(self, package: str, path: list[str]) -> None:
        assert self._config.discovery_function is not None
        try:
            self._config.discovery_function(path, f"{package}.", self._base_class)
        except Exception as error:
            msg = (
                f"the discovery function of the {self._config.registry_name} registry failed on "
                f"the package {package!r} with {type(error).__name__}: {error}"
            )
            raise DiscoveryError(msg) from error

    def _import_all(self, package: str, path: list[str]) -> bool:
        """Import every module of the package; return whether none was broken."""
        broken: list[str] = []

        def importer(name: str) -> ModuleType | None:
            with self._guard(name):
                module = import_plugin_module(name, self._config.broken_module_policy)
            if module is None:
                broken.append(name)
            return module

        recursive = self._config.discovery_recursive is not False
        for _ in import_modules(path, f"{package}.", importer, recursive=recursive):
            pass
        return not broken

    @contextmanager
    def _guard(self, module_name: str) -> Iterator[None]:
        """Undo the registrations of a module whose import fails after some of its classes."""
        before = entries(self._config.registry_dict)
        try:
            yield
        finally:
            if module_name not in sys.modules:
                self._withdraw(module_name, before)

    def _withdraw(self, module_name: str, before: dict[str, Any]) -> None:
        """Remove the classes of a module and put back what they had replaced."""
        registry = self._config.registry_dict
        for key, cls in entries(registry).items():
            if getattr(cls, "__module__", None) != module_name:
                continue
            drop(registry, key)
            empty_secondaries(cls, key, self._config)
            previous = before.get(key)
            if previous is not None and getattr(previous, "__module__", None) != module_name:
                put(registry, key, previous)
                fill_secondaries(previous, key, self._config)

    def _forget(self, module: ModuleType) -> None:
        """Undo an import, so that the next one reads the file."""
        self._withdraw(module.__name__, {})
        del sys.modules[module.__name__]
        if module.__file__ is not None:
            # Byte code tells its source by the full second: a quick edit would go unseen.
            Path(importlib.util.cache_from_source(module.__file__)).unlink(missing_ok=True)

    def _classes(self, module: ModuleType | None) -> list[type]:
        return [] if module is None else list(own_classes(module, self._base_class))

    def _adopt(self, classes: list[type]) -> None:
        """Register classes of imported modules that are not registered, where the key is free."""
        for cls in classes:
            config: RegistryConfig = getattr(cls, "__registry_config__", self._config)
            if config.registry_dict is not self._config.registry_dict:
                continue
            if not is_registrable(cls, config):
                continue
            key = registration_key(cls, config)
            if key is not None and peek(config.registry_dict, key) is None:
                register_class(cls, config)

    def _file_states(self, package: str) -> dict[str, FileState]:
        """Return the files of the modules of the package that are imported."""
        prefix = f"{package}."
        is_flat = self._config.discovery_recursive is False
        return {
            name: _file_state(module)
            for name, module in sorted(sys.modules.items())
            if name.startswith(prefix) and not (is_flat and "." in name.removeprefix(prefix))
        }


def _import_package(package: str, registry_name: str) -> list[str] | None:
    """Import the package and return its path; None if it is a single module."""
    try:
        __import__(package)
    except (Exception, SystemExit) as error:
        msg = (
            f"the package {package!r}, which holds the {registry_name} classes, cannot be "
            f"imported: {type(error).__name__}: {error}; correct discovery_package or repair it"
        )
        raise DiscoveryError(msg) from error
    path = getattr(sys.modules[package], "__path__", None)
    return None if path is None else list(path)


def _file_state(module: ModuleType) -> FileState:
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).exists():
        return None
    stat = Path(file).stat()
    return stat.st_mtime_ns, stat.st_size
