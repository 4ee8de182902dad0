"""How one class enters a registry: its key, the duplicate policy, the secondary registries."""

import logging
from abc import ABC
from typing import Any, Generic, NoReturn, Protocol

from exo2micro.registry.config import RegistryConfig
from exo2micro.registry.exceptions import DuplicateKeyError, RegistryError
from exo2micro.registry.mapping import DiscoveringDict, drop, put, put_new
from exo2micro.registry.secondary import check_secondaries, empty_secondaries, fill_secondaries

logger = logging.getLogger(__name__)

_STRUCTURAL: tuple[Any, ...] = (object, ABC, Generic, Protocol)
"""Bases that say nothing about what a class is."""


def describe(cls: object) -> str:
    """Return module and qualified name of a class, or the text of anything else."""
    return f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else repr(cls)


def is_registrable(cls: type, config: RegistryConfig) -> bool:
    """Whether ``cls`` is a plugin: concrete, and not the base of its family.

    A class that lists `abc.ABC` or `typing.Protocol` among its own bases is abstract, whether or
    not it has abstract methods. A class without a parent in the family is its base; only one
    that has other bases and says its key is a plugin nevertheless.
    """
    bases: tuple[Any, ...] = cls.__bases__
    if getattr(cls, "__abstractmethods__", None) or ABC in bases or Protocol in bases:
        return False
    if has_family_parent(cls, config):
        return True
    return any(base not in _STRUCTURAL for base in bases) and _explicit_key(cls, config) is not None


def has_family_parent(cls: type, config: RegistryConfig) -> bool:
    """Whether a parent of ``cls`` belongs to the same registry."""
    return any(
        getattr(base, "__registry__", None) is config.registry_dict for base in cls.__mro__[1:]
    )


def registration_key(cls: type, config: RegistryConfig) -> str | None:
    """Return the key of ``cls``: the explicit one, else the extracted one, else None.

    With a key extractor, a key inherited from a registered class is not explicit: it was stamped
    on that class, or names that class.
    """
    explicit = _explicit_key(cls, config)
    if config.key_extractor is None:
        return explicit
    if explicit is not None and not _is_key_of_parent(cls, config):
        return explicit
    return config.key_extractor(cls.__name__, cls) or None


def _explicit_key(cls: type, config: RegistryConfig) -> str | None:
    key = getattr(cls, config.key_attribute, None)
    return None if isinstance(key, property) or key == "" else key


def _is_key_of_parent(cls: type, config: RegistryConfig) -> bool:
    for base in cls.__mro__:
        if config.key_attribute in vars(base):
            return base is not cls and "__registered_key__" in vars(base)
    return False


def register_class(cls: type, config: RegistryConfig) -> None:
    """Register a concrete class of a family.

    Raises
    ------
    RegistryError
        If the class has no key and the family does not skip such classes.
    DuplicateKeyError
        If the key is taken and the family's duplicate policy is ``error``.
    """
    key = registration_key(cls, config)
    if key is not None:
        enrol(cls, key, config)
        setattr(cls, config.key_attribute, key)
        cls.__registered_key__ = key  # type: ignore[attr-defined]  # tells children's keys apart
    elif not config.skip_if_no_key:
        msg = (
            f"class {describe(cls)} must have {config.key_attribute} attribute: the key of a "
            f"{config.registry_name}, got None; set it, make the class abstract, or give the "
            "registry a key_extractor"
        )
        raise RegistryError(msg)
    elif config.log_registration:
        logger.debug("%s has no %s: not registered", describe(cls), config.key_attribute)


def enrol(cls: type, key: str, config: RegistryConfig) -> None:
    """Enter ``cls`` under ``key``, after the duplicate policy, without discovery."""
    registry = config.registry_dict
    previous = put_new(registry, key, cls)
    try:
        if previous is not cls and not _is_same_definition(previous, cls):
            if config.duplicate_policy == "error":
                _refuse_duplicate(key, previous, cls, config)
            keeps = isinstance(registry, DiscoveringDict) and registry._keeps(key, previous, cls)
            _log_duplicate(key, previous, cls, config, kept=previous if keeps else cls)
            if keeps:
                return
        check_secondaries(cls, key, config, replaced=previous)
    except DuplicateKeyError:
        if previous is cls:
            drop(registry, key)
        raise
    if previous is not cls:
        empty_secondaries(previous, key, config)
        put(registry, key, cls)
    fill_secondaries(cls, key, config)
    if config.log_registration:
        logger.debug("registered %s as %s %r", describe(cls), config.registry_name, key)


def _is_same_definition(previous: object, cls: type) -> bool:
    """Whether ``cls`` is a new run of the statement that made ``previous``."""
    return isinstance(previous, type) and describe(previous) == describe(cls)


def _refuse_duplicate(key: str, previous: object, cls: type, config: RegistryConfig) -> NoReturn:
    msg = (
        f"{describe(cls)} claims the {config.registry_name} key {key!r}, which "
        f"{describe(previous)} holds; give one of them another {config.key_attribute}, or "
        "unregister the other first"
    )
    raise DuplicateKeyError(msg)


def _log_duplicate(
    key: str, previous: object, cls: type, config: RegistryConfig, *, kept: object
) -> None:
    logger.warning(
        "%s and %s both claim the %s key %r; %s is used",
        describe(previous),
        describe(cls),
        config.registry_name,
        key,
        describe(kept),
    )
