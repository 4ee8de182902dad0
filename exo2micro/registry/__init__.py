"""The mechanism behind all plugin families: classes register themselves and are found on first use.

See `exo2micro.registry.core` for how to write a family, and `RegistryConfig` for the policies.
Importing this package imports no plugins and looks at no files.
"""

from typing import TYPE_CHECKING, Any

from exo2micro.registry.config import DiscoveryFunction
from exo2micro.registry.core import (
    ENTRY_POINT_GROUP,
    PRIMARY_KEY,
    AutoRegisterMeta,
    BrokenModulePolicy,
    DuplicatePolicy,
    KeyExtractor,
    LazyDiscoveryDict,
    RegistryConfig,
    RegistryDict,
    SecondaryRegistry,
    SecondaryRegistryDict,
    extract_key_from_backend_suffix,
    extract_key_from_handler_suffix,
    make_plugin_class,
    make_suffix_extractor,
    unregister_class,
)
from exo2micro.registry.discovery import (
    discover_registry_classes,
    discover_registry_classes_recursive,
)
from exo2micro.registry.exceptions import (
    CacheError,
    DiscoveryError,
    DuplicateKeyError,
    PluginWarning,
    RegistryError,
    UnknownKeyError,
)

if TYPE_CHECKING:
    from exo2micro.registry.cache import (
        CacheConfig,
        RegistryCacheManager,
        deserialize_plugin_class,
        get_cache_file_path,
        get_package_file_mtimes,
        serialize_plugin_class,
    )

__all__ = [
    "ENTRY_POINT_GROUP",
    "PRIMARY_KEY",
    "AutoRegisterMeta",
    "BrokenModulePolicy",
    "CacheConfig",
    "CacheError",
    "DiscoveryError",
    "DiscoveryFunction",
    "DuplicateKeyError",
    "DuplicatePolicy",
    "KeyExtractor",
    "LazyDiscoveryDict",
    "PluginWarning",
    "RegistryCacheManager",
    "RegistryConfig",
    "RegistryDict",
    "RegistryError",
    "SecondaryRegistry",
    "SecondaryRegistryDict",
    "UnknownKeyError",
    "deserialize_plugin_class",
    "discover_registry_classes",
    "discover_registry_classes_recursive",
    "extract_key_from_backend_suffix",
    "extract_key_from_handler_suffix",
    "get_cache_file_path",
    "get_package_file_mtimes",
    "make_plugin_class",
    "make_suffix_extractor",
    "serialize_plugin_class",
    "unregister_class",
]

_CACHE_NAMES = frozenset(
    {
        "CacheConfig",
        "RegistryCacheManager",
        "deserialize_plugin_class",
        "get_cache_file_path",
        "get_package_file_mtimes",
        "serialize_plugin_class",
    }
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name of the cache module
    if name in _CACHE_NAMES:
        from exo2micro.registry import cache

        return getattr(cache, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
