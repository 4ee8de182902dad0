"""Secondary registries: dicts that are filled from attributes of the registered classes."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from exo2micro.registry.config import PRIMARY_KEY, RegistryConfig, RegistryDict, SecondaryRegistry
from exo2micro.registry.exceptions import DuplicateKeyError
from exo2micro.registry.mapping import DiscoveringDict, drop, entries, peek, put

logger = logging.getLogger(__name__)


class SecondaryRegistryDict(DiscoveringDict[Any]):
    """A secondary dict whose family discovers its package before the first read.

    Parameters
    ----------
    primary_registry : dict, optional
        The family's `LazyDiscoveryDict`. None: the one of the family that names this dict in its
        secondary registries.
    """

    def __init__(self, primary_registry: RegistryDict | None = None) -> None:
        super().__init__()
        self._primary_registry = primary_registry

    def _ensure_discovered(self) -> None:
        discover: Callable[[], None] | None = getattr(self._primary_registry, "_discover", None)
        if discover is not None:
            discover()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a reference to the family where there is one, else with the entries."""
        primary: Any = self._primary_registry
        is_reference_enough = getattr(primary, "_is_reference_enough", None)
        if is_reference_enough is not None and is_reference_enough():
            for position, secondary in enumerate(primary._config.secondary_registries or ()):
                if secondary.registry_dict is self:
                    return _secondary_of, (primary, position)
        return _detached, (self.copy(),)


def _secondary_of(primary: Any, position: int) -> RegistryDict:  # noqa: ANN401 - LazyDiscoveryDict
    secondary: SecondaryRegistry = primary._config.secondary_registries[position]
    return secondary.registry_dict


def _detached(items: dict[str, Any]) -> SecondaryRegistryDict:
    secondary = SecondaryRegistryDict()
    for key, value in items.items():
        put(secondary, key, value)
    return secondary


def connect_secondaries(
    cls: type, secondaries: Sequence[SecondaryRegistry], primary: RegistryDict
) -> tuple[SecondaryRegistry, ...]:
    """Make reading the secondary dicts of a family discover its package.

    A plain dict cannot do that. The one that was given is filled all the same; a module-level
    name in the module of ``cls`` that holds it is bound to a `SecondaryRegistryDict` instead,
    which is filled beside it, so that importing the name gives complete entries at once.
    """
    connected: list[SecondaryRegistry] = []
    for secondary in secondaries:
        connected.append(secondary)
        given = secondary.registry_dict
        if isinstance(given, SecondaryRegistryDict):
            if given._primary_registry is None:
                given._primary_registry = primary
        elif not isinstance(given, DiscoveringDict):
            lazy = _rebind_global(cls.__module__, given, primary)
            if lazy is not None:
                connected.append(replace(secondary, registry_dict=lazy))
    return tuple(connected)


def _rebind_global(
    module_name: str, given: RegistryDict, primary: RegistryDict
) -> SecondaryRegistryDict | None:
    module = sys.modules.get(module_name)
    names = [name for name, value in vars(module).items() if value is given] if module else []
    if not names:
        return None
    lazy = SecondaryRegistryDict(primary)
    for key, value in given.items():
        put(lazy, key, value)
    for name in names:
        setattr(module, name, lazy)
    return lazy


def _values(
    cls: type, primary_key: str, config: RegistryConfig, *, log_missing: bool = False
) -> Iterator[tuple[SecondaryRegistry, str, Any]]:
    """Yield what ``cls`` contributes: the secondary registry, the key and the value."""
    for secondary in config.secondary_registries or ():
        value = getattr(cls, secondary.attr_name, None)
        if value is None:
            continue
        by_primary = secondary.key_source == PRIMARY_KEY
        key = primary_key if by_primary else getattr(cls, secondary.key_source, None)
        if key is None and log_missing:
            logger.warning(
                "%s of %s.%s is not entered: the class has no %s to enter it under",
                secondary.attr_name,
                cls.__module__,
                cls.__qualname__,
                secondary.key_source,
            )
        elif key is not None:
            yield secondary, key, value


def check_secondaries(
    cls: type, primary_key: str, config: RegistryConfig, replaced: type | None
) -> None:
    """Apply the duplicate policy to the secondary keys of ``cls`` before it is entered.

    Raises
    ------
    DuplicateKeyError
        Under the policy ``error``, if another class than ``replaced`` holds one of the keys.
    """
    for secondary, key, value in _values(cls, primary_key, config, log_missing=True):
        held = peek(secondary.registry_dict, key)
        if held is None or held is value:
            continue
        if replaced is not None and held is getattr(replaced, secondary.attr_name, None):
            continue
        owner = _owner(secondary, held, config)
        msg = (
            f"the {config.registry_name} classes {owner} and {cls.__module__}.{cls.__qualname__} "
            f"give different values of {secondary.attr_name} for the key {key!r} of a secondary "
            f"registry ({held!r} and {value!r})"
        )
        if config.duplicate_policy == "error":
            raise DuplicateKeyError(msg + "; change one of the keys or unregister one class")
        logger.warning("%s; the later one is used", msg)


def _owner(secondary: SecondaryRegistry, held: object, config: RegistryConfig) -> str:
    for cls in entries(config.registry_dict).values():
        if getattr(cls, secondary.attr_name, None) is held:
            return f"{cls.__module__}.{cls.__qualname__}"
    return "(unknown)"


def fill_secondaries(cls: type, primary_key: str, config: RegistryConfig) -> None:
    """Enter what ``cls`` contributes into the secondary dicts."""
    for secondary, key, value in _values(cls, primary_key, config):
        put(secondary.registry_dict, key, value)


def empty_secondaries(cls: type, primary_key: str, config: RegistryConfig) -> None:
    """Remove from the secondary dicts what ``cls`` contributed and still holds."""
    for secondary, key, value in _values(cls, primary_key, config):
        if peek(secondary.registry_dict, key) is value:
            drop(secondary.registry_dict, key)
