"""What a registry is told: its configuration, its secondary registries, its key extractors."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from exo2micro.registry.exceptions import RegistryError

RegistryDict: TypeAlias = dict[str, Any]
"""A registry: key to class. Secondary registries hold any value."""

KeyExtractor: TypeAlias = Callable[[str, type], str | None]
"""Derives a key from a class name and the class; None means that there is none."""

DiscoveryFunction: TypeAlias = Callable[[Sequence[str], str, type], object]
"""Imports plugin modules, given the package path, the module prefix and the base class."""

DuplicatePolicy: TypeAlias = Literal["last", "error"]
BrokenModulePolicy: TypeAlias = Literal["warn", "error"]

PRIMARY_KEY = "primary"
"""``key_source`` of a secondary registry that uses the keys of the primary one."""

ENTRY_POINT_GROUP = "exo2micro.plugins"
"""Entry-point group through which other distributions contribute plugins."""


@dataclass(frozen=True)
class SecondaryRegistry:
    """A second dict that is filled from an attribute of each registered class.

    Parameters
    ----------
    registry_dict : dict
        The dict to fill: a plain one, or a `SecondaryRegistryDict`, which makes its family
        discover its package before the first read.
    key_source : str
        `PRIMARY_KEY`, or the name of the class attribute that holds the key.
    attr_name : str
        The class attribute that holds the value. Classes where it is None are left out.
    """

    registry_dict: RegistryDict
    key_source: str
    attr_name: str


@dataclass(frozen=True)
class RegistryConfig:
    """How one plugin family registers, finds and treats its classes.

    Parameters
    ----------
    registry_dict : dict
        Where classes are registered. Only a `LazyDiscoveryDict` discovers a package.
    key_attribute : str
        Class attribute that holds the key; the key is written back to it.
    key_extractor : callable, optional
        ``(class name, class) -> key or None``, asked where the attribute gives no key.
    skip_if_no_key : bool
        Leave out a class without key; otherwise such a class is a `RegistryError`.
    secondary_registries : sequence of SecondaryRegistry, optional
        Further dicts to fill from attributes of the classes.
    log_registration : bool
        Log each registration at level DEBUG.
    registry_name : str
        What one class of the family is called in messages.
    discovery_package : str, optional
        Package whose modules are imported on first use. None: the package that holds the base
        class, if other modules can import that class.
    discovery_recursive : bool, optional
        Whether subpackages are searched too. None: yes, where there are any.
    discovery_function : callable, optional
        Replaces the import of every module: ``(package path, module prefix, base class)``.
    duplicate_policy : {'last', 'error'}
        ``last``: the class that is defined last is kept, and a log record at level WARNING names
        both. A class from outside the discovery package counts as later than those inside,
        whenever discovery runs. ``error``: a `DuplicateKeyError` names both.
        The same module and qualified name again (a reloaded module, a notebook cell run twice)
        is a replacement, not a duplicate.
    broken_module_policy : {'warn', 'error'}
        What a module of the discovery package does that cannot be imported. ``warn``: it is
        skipped with a `PluginWarning`. ``error``: discovery fails with a `DiscoveryError`.
        Either way package, module and cause are named.
    entry_point_group : str, optional
        Entry-point group that other distributions use. A broken distribution is always skipped
        with a `PluginWarning`, whatever the policies: it must not stop the user's work.
        None: no entry points.
    """

    registry_dict: RegistryDict
    key_attribute: str
    key_extractor: KeyExtractor | None = None
    skip_if_no_key: bool = False
    secondary_registries: Sequence[SecondaryRegistry] | None = None
    log_registration: bool = True
    registry_name: str = "plugin"
    discovery_package: str | None = None
    discovery_recursive: bool | None = None
    discovery_function: DiscoveryFunction | None = None
    duplicate_policy: DuplicatePolicy = "last"
    broken_module_policy: BrokenModulePolicy = "warn"
    entry_point_group: str | None = ENTRY_POINT_GROUP

    def __post_init__(self) -> None:
        if not isinstance(self.key_attribute, str) or not self.key_attribute:
            msg = (
                f"key_attribute of the {self.registry_name} registry must be the name of a class "
                f"attribute, got {self.key_attribute!r}; set __registry_key__ or key_attribute"
            )
            raise RegistryError(msg)
        self._check_policy("duplicate_policy", get_args(DuplicatePolicy))
        self._check_policy("broken_module_policy", get_args(BrokenModulePolicy))

    def _check_policy(self, name: str, allowed: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in allowed:
            msg = (
                f"{name} of the {self.registry_name} registry must be one of "
                f"{', '.join(allowed)}, got {value!r}"
            )
            raise RegistryError(msg)


def make_suffix_extractor(suffix: str) -> KeyExtractor:
    """Return a key extractor that cuts ``suffix`` off the class name and lowers its case.

    Parameters
    ----------
    suffix : str
        For example ``"Handler"``: ``ImageXpressHandler`` becomes ``imagexpress``. A class name
        without the suffix is only lowered.

    Returns
    -------
    KeyExtractor
        The extractor.
    """

    def extract(name: str, cls: type) -> str:  # noqa: ARG001 - every extractor takes the class
        return name.removesuffix(suffix).lower()

    return extract


extract_key_from_handler_suffix = make_suffix_extractor("Handler")
extract_key_from_backend_suffix = make_suffix_extractor("Backend")


def derive_registry_name(class_name: str) -> str:
    """Return a family's name from the CamelCase name of its base class.

    ``StorageBackend`` gives ``storage backend``, ``TIFFReaderBase`` gives ``tiff reader``.
    """
    stem = re.sub(r"(?<=.)(Base|Meta|Registry)$", "", class_name.strip("_"))
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", stem)
    return " ".join(words).lower() or class_name.lower()
