"""The metaclass that registers classes as they are defined.

A plugin family is a base class::

    class Diagnostic(metaclass=AutoRegisterMeta):
        __registry_key__ = "name"
        __registry_name__ = "diagnostic"
        __registry_policy__ = "error"

        name: ClassVar[str | None] = None

    DIAGNOSTICS = Diagnostic.__registry__

and a plugin is a concrete subclass that says its ``name``, in a module of its own beside the
base class or in another distribution. Nothing else needs to know of it.

Class attributes and the field of `RegistryConfig` that each sets: ``__registry_key__``
(key_attribute), ``__registry__`` (registry_dict), ``__key_extractor__``, ``__skip_if_no_key__``
(here True by default), ``__secondary_registries__``, ``__log_registration__``,
``__registry_name__``, ``__discovery_package__``, ``__discovery_recursive__``,
``__discovery_function__``, ``__duplicate_policy__``, ``__broken_module_policy__``,
``__entry_point_group__``; ``__registry_policy__`` sets both policies: ``"error"``, or
``"lenient"`` for ``last`` and ``warn``.
"""

import sys
from abc import ABCMeta
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from exo2micro.registry.config import (
    ENTRY_POINT_GROUP,
    PRIMARY_KEY,
    BrokenModulePolicy,
    DuplicatePolicy,
    KeyExtractor,
    RegistryConfig,
    RegistryDict,
    SecondaryRegistry,
    derive_registry_name,
    extract_key_from_backend_suffix,
    extract_key_from_handler_suffix,
    make_suffix_extractor,
)
from exo2micro.registry.discovery import infer_discovery_package
from exo2micro.registry.enrolment import describe, is_registrable, register_class
from exo2micro.registry.exceptions import RegistryError
from exo2micro.registry.lazy import LazyDiscoveryDict
from exo2micro.registry.mapping import drop, entries
from exo2micro.registry.secondary import (
    SecondaryRegistryDict,
    connect_secondaries,
    empty_secondaries,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "PRIMARY_KEY",
    "AutoRegisterMeta",
    "BrokenModulePolicy",
    "DuplicatePolicy",
    "KeyExtractor",
    "LazyDiscoveryDict",
    "RegistryConfig",
    "RegistryDict",
    "SecondaryRegistry",
    "SecondaryRegistryDict",
    "extract_key_from_backend_suffix",
    "extract_key_from_handler_suffix",
    "make_plugin_class",
    "make_suffix_extractor",
    "unregister_class",
]

T = TypeVar("T")

_FIELDS = {
    "__registry_key__": "key_attribute",
    "__key_extractor__": "key_extractor",
    "__skip_if_no_key__": "skip_if_no_key",
    "__secondary_registries__": "secondary_registries",
    "__log_registration__": "log_registration",
    "__registry_name__": "registry_name",
    "__discovery_package__": "discovery_package",
    "__discovery_recursive__": "discovery_recursive",
    "__discovery_function__": "discovery_function",
    "__duplicate_policy__": "duplicate_policy",
    "__broken_module_policy__": "broken_module_policy",
    "__entry_point_group__": "entry_point_group",
}
_POLICIES = {
    "error": {"duplicate_policy": "error", "broken_module_policy": "error"},
    "lenient": {"duplicate_policy": "last", "broken_module_policy": "warn"},
}
_DEFAULT_KEY_ATTRIBUTE = "_registry_key"
"""Key attribute of a metaclass that gives a registry and no ``__registry_key__``."""


class AutoRegisterMeta(ABCMeta):
    """Metaclass that registers each concrete subclass of a family when it is defined.

    The configuration is looked for in this order: the argument ``registry_config`` (or the class
    attribute ``__registry_config__``), attributes of a derived metaclass
    (``__registry_dict__``, ``__registry_key__``, ...), attributes of the class itself, a parent
    that has a registry. A class without any of these is an ordinary class.

    In a family, a subclass may set ``__key_extractor__``, ``__skip_if_no_key__`` and the like
    for itself and its own subclasses. One with another ``__registry_key__`` or its own
    ``__registry__`` begins a family of its own.
    """

    if TYPE_CHECKING:

        @property
        def __registry__(cls: type[T]) -> "LazyDiscoveryDict[type[T]]": ...

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        registry_config: RegistryConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - handed on to __init_subclass__
    ) -> "AutoRegisterMeta":
        """Make the class, set up its family if it begins one, and register it if it is a plugin."""
        cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        config = _configure(cls, mcs, namespace, registry_config)
        if config is not None and is_registrable(cls, config):
            register_class(cls, config)
        return cls


def _configure(
    cls: type, mcs: type, namespace: Mapping[str, Any], given: RegistryConfig | None
) -> RegistryConfig | None:
    """Return the configuration that holds for a new class, having set up a new family."""
    parent = _parent_config(cls)
    for config in (given or namespace.get("__registry_config__"), _metaclass_config(cls, mcs)):
        if config is None:
            continue
        if parent is not None and parent.registry_dict is config.registry_dict:
            return parent
        return _establish(cls, config)
    own = _declared(namespace)
    key = own.get("key_attribute")
    if "__registry__" in namespace or (
        key is not None and (parent is None or key != parent.key_attribute)
    ):
        return _establish(cls, _class_config(cls, own, namespace.get("__registry__")))
    if parent is not None:
        own.pop("key_attribute", None)
        return _override(cls, parent, own) if own else parent
    on_metaclass = _declared(_metaclass_attributes(mcs))
    if "key_attribute" in on_metaclass:
        return _establish(cls, _class_config(cls, on_metaclass | own, None))
    return None


def _declared(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration that class or metaclass attributes set."""
    policy = attributes.get("__registry_policy__")
    if policy is not None and policy not in _POLICIES:
        msg = f"__registry_policy__ must be one of {', '.join(_POLICIES)}, got {policy!r}"
        raise RegistryError(msg)
    fields: dict[str, Any] = dict(_POLICIES.get(policy or "", {}))
    for attribute, field in _FIELDS.items():
        if attribute in attributes:
            value = attributes[attribute]
            fields[field] = value.__func__ if isinstance(value, staticmethod) else value
    return fields


def _metaclass_attributes(mcs: type) -> dict[str, Any]:
    """Return the attributes of the metaclasses that derive from `AutoRegisterMeta`."""
    attributes: dict[str, Any] = {}
    for meta in reversed(mcs.__mro__):
        if issubclass(meta, AutoRegisterMeta) and meta is not AutoRegisterMeta:
            attributes.update(vars(meta))
    return attributes


def _metaclass_config(cls: type, mcs: type) -> RegistryConfig | None:
    attributes = _metaclass_attributes(mcs)
    registry = attributes.get("__registry_dict__")
    if registry is None:
        return None
    fields = {"key_attribute": _DEFAULT_KEY_ATTRIBUTE} | _declared(attributes)
    return _class_config(cls, fields, registry)


def _class_config(
    cls: type, fields: Mapping[str, Any], registry: RegistryDict | None
) -> RegistryConfig:
    """Return the configuration of a family that is described by attributes."""
    if "key_attribute" not in fields:
        msg = f"{describe(cls)} has a __registry__ but no __registry_key__; set it"
        raise RegistryError(msg)
    complete: dict[str, Any] = {
        "registry_dict": LazyDiscoveryDict() if registry is None else registry,
        "registry_name": derive_registry_name(cls.__name__),
        "skip_if_no_key": True,
    }
    given = {field: value for field, value in fields.items() if value is not None}
    return RegistryConfig(**(complete | given))


def _parent_config(cls: type) -> RegistryConfig | None:
    """Return the configuration of the nearest parent that has a registry."""
    for base in cls.__mro__[1:]:
        attributes = vars(base)
        if "__registry_config__" in attributes:
            config: RegistryConfig = attributes["__registry_config__"]
            return config
        if "__registry__" in attributes and "__registry_key__" in attributes:
            return _class_config(base, _declared(attributes), attributes["__registry__"])
    return None


def _override(cls: type, parent: RegistryConfig, own: Mapping[str, Any]) -> RegistryConfig:
    """Return, and leave on the class, the parent's configuration with some fields changed."""
    config = replace(parent, **own)
    cls.__registry_config__ = config  # type: ignore[attr-defined]
    return config


def _establish(cls: type, config: RegistryConfig) -> RegistryConfig:
    """Make ``cls`` the base class of a family and return its completed configuration."""
    registry = config.registry_dict
    if isinstance(registry, LazyDiscoveryDict):
        if registry._config is None:
            registry._set_config(cls, _complete(cls, config, registry))
        config = registry._config or config
    cls.__registry__ = registry  # type: ignore[attr-defined]
    cls.__registry_config__ = config  # type: ignore[attr-defined]
    if "__registry_name__" not in vars(cls):
        cls.__registry_name__ = config.registry_name  # type: ignore[attr-defined]
    return config


def _complete(
    cls: type, config: RegistryConfig, registry: LazyDiscoveryDict[Any]
) -> RegistryConfig:
    if config.discovery_package is None:
        config = replace(config, discovery_package=infer_discovery_package(cls))
    if config.secondary_registries:
        connected = connect_secondaries(cls, config.secondary_registries, registry)
        config = replace(config, secondary_registries=connected)
    return config


def make_plugin_class(
    base: type[T],
    key: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    module: str | None = None,
) -> type[T]:
    """Make a subclass at run time, for example from a user's function, and so register it.

    Making it again with the same key and module replaces it, as running a notebook cell twice
    does. ``base.__registry__.unregister(key)`` removes it.

    Parameters
    ----------
    base : type
        A class of a plugin family.
    key : str
        The key to register under; it becomes the class name, too.
    attributes : mapping, optional
        Class attributes and methods; wrap plain functions that are no methods in `staticmethod`.
    module : str, optional
        Name of the module that the class shall count as part of, such as the ``__module__`` of
        the function. None: the calling module.

    Returns
    -------
    type
        The class.

    Raises
    ------
    RegistryError
        If ``base`` belongs to no family, or the class stays abstract.
    DuplicateKeyError
        If the key is taken and the family refuses that.
    """
    config: RegistryConfig | None = getattr(base, "__registry_config__", None)
    if config is None:
        msg = f"{describe(base)} belongs to no plugin family; give it or a parent a registry"
        raise RegistryError(msg)
    namespace = {
        "__qualname__": key,
        "__module__": module or sys._getframe(1).f_globals.get("__name__", base.__module__),
        **(attributes or {}),
        config.key_attribute: key,
    }
    made = cast("type[T]", cast("Any", type(base))(key, (base,), namespace))
    missing = sorted(getattr(made, "__abstractmethods__", ()))
    if missing:
        msg = f"the {config.registry_name} {key!r} lacks {', '.join(missing)}; add to attributes"
        raise RegistryError(msg)
    return made


def unregister_class(cls: type) -> None:
    """Remove a class from its family and the secondary dicts; for families in plain dicts, too.

    Raises
    ------
    RegistryError
        If the class is not registered.
    """
    config: RegistryConfig | None = getattr(cls, "__registry_config__", None)
    held = {} if config is None else entries(config.registry_dict)
    keys = [key for key, value in held.items() if value is cls]
    if config is None or not keys:
        msg = f"{describe(cls)} is not registered"
        raise RegistryError(msg)
    for key in keys:
        drop(config.registry_dict, key)
        empty_secondaries(cls, key, config)
