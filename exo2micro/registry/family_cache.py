"""The cache of one family's discovery: which module of its package holds the class of which key."""

import logging
import re
from typing import Any
from zlib import crc32

from exo2micro.registry.cache import (
    RegistryCacheManager,
    deserialize_plugin_class,
    environment_fingerprint,
    serialize_plugin_class,
)
from exo2micro.registry.config import RegistryConfig
from exo2micro.registry.discovery import is_importable
from exo2micro.registry.exceptions import CacheError
from exo2micro.registry.mapping import entries

logger = logging.getLogger(__name__)


class FamilyCache:
    """Imports the modules that held a family's plugins last time, if nothing changed since.

    The file belongs to one base class of one package, and is refused when any module file of
    the package came, went or changed, or the environment did. Its use spares the import of the
    modules without plugins.

    Parameters
    ----------
    package : str
        The package that is discovered.
    base_class : type
        The family's base class.
    config : RegistryConfig
        The family's configuration.
    """

    def __init__(self, package: str, base_class: type, config: RegistryConfig) -> None:
        self._package = package
        self._registry = config.registry_dict
        self._fingerprint = environment_fingerprint(package)
        family = f"{package} {base_class.__module__}.{base_class.__qualname__}"
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{package}-{config.registry_name}")
        self._manager: RegistryCacheManager[type] = RegistryCacheManager(
            cache_name=f"{stem.lstrip('.-')}-{crc32(family.encode()):08x}",
            version_getter=lambda: environment_fingerprint(package),
            serializer=serialize_plugin_class,
            deserializer=self._deserialize,
        )

    def restore(self) -> bool:
        """Import what the cache names; return whether that made the registry complete."""
        cached = self._manager.load_cache()
        return cached is not None and cached.keys() <= entries(self._registry).keys()

    def save(self) -> None:
        """Remember the registered classes of the package, unless its files changed meanwhile."""
        if environment_fingerprint(self._package) != self._fingerprint:
            logger.debug("%s changed during discovery: nothing is cached", self._package)
            return
        classes = {
            key: cls
            for key, cls in entries(self._registry).items()
            if self._is_inside(getattr(cls, "__module__", ""))
        }
        if not all(isinstance(key, str) and is_importable(cls) for key, cls in classes.items()):
            logger.debug("%s has classes that no name leads to: nothing is cached", self._package)
            return
        self._manager.save_cache(classes)

    def _is_inside(self, module_name: str) -> bool:
        return f"{module_name}.".startswith(f"{self._package}.")

    def _deserialize(self, data: dict[str, Any]) -> type:
        name = data["module"]
        if not self._is_inside(name):
            msg = f"registry cache names the module {name!r}, which is not of {self._package!r}"
            raise CacheError(msg)
        try:
            return deserialize_plugin_class(data)
        except SystemExit as error:
            msg = f"module {name!r} ended its import with SystemExit"
            raise CacheError(msg) from error
