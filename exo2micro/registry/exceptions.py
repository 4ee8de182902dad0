"""Errors and the warning of the registry."""

from exo2micro.errors import Exo2microError


class RegistryError(Exo2microError, ValueError):
    """A class cannot be registered, or a registry is configured wrongly."""


class DuplicateKeyError(RegistryError):
    """Two classes claim one key of a registry whose duplicate policy is ``error``."""


class UnknownKeyError(RegistryError, KeyError):
    """No class is registered under the key that was asked for."""

    # KeyError would show the message quoted and escaped.
    __str__ = Exception.__str__


class DiscoveryError(RegistryError, ImportError):
    """The plugin package, or under the policy ``error`` one of its modules, cannot be imported."""


class CacheError(RegistryError, OSError):
    """A registry cache file has a refused name, cannot be removed or names no usable class."""


class PluginWarning(UserWarning):
    """A plugin module, or a plugin of another distribution, was left out because it is broken."""
