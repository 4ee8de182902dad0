"""Imports the modules of a package and finds the classes of a family in them."""

import inspect
import logging
import pkgutil
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import TypeAlias

from exo2micro.registry.config import BrokenModulePolicy
from exo2micro.registry.exceptions import DiscoveryError, DuplicateKeyError, PluginWarning

logger = logging.getLogger(__name__)

ModuleImporter: TypeAlias = Callable[[str], ModuleType | None]
"""Imports a module by name; None if it is broken and to be skipped."""

_SCRIPT = "__main__"
"""A package's script, which is run and not imported."""


def discover_registry_classes(
    package_path: Iterable[str],
    package_prefix: str,
    base_class: type,
    exclude_modules: Collection[str] | None = None,
    validation_func: Callable[[type], bool] | None = None,
    skip_packages: bool = True,
    *,
    on_broken: BrokenModulePolicy = "warn",
) -> list[type]:
    """Import the modules of one package and return the subclasses that they define.

    Parameters
    ----------
    package_path : iterable of str
        The package's ``__path__``.
    package_prefix : str
        Prefix of the module names, with the final dot: ``"exo2micro.plotting."``.
    base_class : type
        Its subclasses are returned, itself not.
    exclude_modules : collection of str, optional
        Modules that are not imported, as a full name or as one part of it: ``{"base"}`` excludes
        ``package.base`` and ``package.base.detail``, not ``package.database``.
    validation_func : callable, optional
        Only classes for which it returns true are returned.
    skip_packages : bool
        Leave subpackages out; otherwise their ``__init__`` modules are searched, too.
    on_broken : {'warn', 'error'}
        Whether a module that cannot be imported is skipped with a `PluginWarning` or ends
        discovery with a `DiscoveryError`; both name package, module and cause.

    Returns
    -------
    list of type
        The classes in the order of module and class names, each once, abstract ones included.
        Classes that a module only imports are not its own.

    Raises
    ------
    DiscoveryError
        If a module is broken and ``on_broken`` is ``error``, or if two classes claim one key of
        a registry that refuses that.
    """
    modules = import_modules(
        package_path,
        package_prefix,
        partial(import_plugin_module, on_broken=on_broken),
        exclude_modules=exclude_modules or (),
        skip_packages=skip_packages,
        recursive=False,
    )
    return _collect(modules, base_class, validation_func)


def discover_registry_classes_recursive(
    package_path: Iterable[str],
    package_prefix: str,
    base_class: type,
    exclude_modules: Collection[str] | None = None,
    validation_func: Callable[[type], bool] | None = None,
    skip_packages: bool = False,
    *,
    on_broken: BrokenModulePolicy = "warn",
) -> list[type]:
    """Do as `discover_registry_classes`, in all subpackages at any depth.

    Parameters are the same but for one.

    Parameters
    ----------
    package_path, package_prefix, base_class, exclude_modules, validation_func, on_broken
        As there. An excluded subpackage is not entered.
    skip_packages : bool
        Leave out classes that are defined in the ``__init__`` modules of subpackages; the
        modules beneath are searched in any case.

    Returns
    -------
    list of type
        The classes, each once.

    Raises
    ------
    DiscoveryError
        As there.
    """
    modules = import_modules(
        package_path,
        package_prefix,
        partial(import_plugin_module, on_broken=on_broken),
        exclude_modules=exclude_modules or (),
        skip_packages=False,
        recursive=True,
    )
    if skip_packages:
        modules = (module for module in modules if not hasattr(module, "__path__"))
    return _collect(modules, base_class, validation_func)


def import_modules(
    package_path: Iterable[str],
    package_prefix: str,
    importer: ModuleImporter,
    *,
    exclude_modules: Collection[str] = (),
    skip_packages: bool = False,
    recursive: bool = False,
) -> Iterator[ModuleType]:
    """Import the modules of a package in the order of their names and yield those that work."""
    for found in pkgutil.iter_modules(package_path, package_prefix):
        below = found.name.removeprefix(package_prefix)
        if below == _SCRIPT or (found.ispkg and skip_packages):
            continue
        if found.name in exclude_modules or any(p in exclude_modules for p in below.split(".")):
            logger.debug("module %s is excluded from discovery", found.name)
            continue
        module = importer(found.name)
        if module is None:
            continue
        yield module
        if found.ispkg and recursive:
            yield from import_modules(
                module.__path__,
                f"{found.name}.",
                importer,
                exclude_modules=exclude_modules,
                recursive=True,
            )


def import_plugin_module(name: str, on_broken: BrokenModulePolicy) -> ModuleType | None:
    """Import one module of a package; None if it is broken and the policy is ``warn``.

    Raises
    ------
    DiscoveryError
        If the module is broken and the policy is ``error``, or if it defines a class whose key
        is taken in a registry that refuses duplicates.
    """
    try:
        # Not importlib.import_module: where two threads import in a circle, that one raises,
        # while the import statement and this function give the half-made module.
        __import__(name)
        return sys.modules[name]
    except DuplicateKeyError as error:
        msg = f"{_failure(name)}: {error}"
        raise DiscoveryError(msg) from error
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        cause = f"{_failure(name)} with {type(error).__name__}: {error}"
        if on_broken == "error":
            msg = f"{cause}; repair the module or remove it"
            raise DiscoveryError(msg) from error
        msg = f"{cause}; it is skipped. Repair the module or remove it, then call reload()"
        warnings.warn(msg, PluginWarning, stacklevel=2)
        return None


def _failure(name: str) -> str:
    return f"importing the plugin module {name!r} of the package {name.rpartition('.')[0]!r} failed"


def own_classes(module: ModuleType, base_class: type) -> Iterator[type]:
    """Yield the proper subclasses of ``base_class`` that ``module`` itself defines, each once."""
    seen: set[type] = set()
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if cls in seen or cls is base_class or cls.__module__ != module.__name__:
            continue
        if issubclass(cls, base_class):
            seen.add(cls)
            yield cls


def _collect(
    modules: Iterable[ModuleType],
    base_class: type,
    validation_func: Callable[[type], bool] | None,
) -> list[type]:
    found = [
        cls
        for module in modules
        for cls in own_classes(module, base_class)
        if validation_func is None or validation_func(cls)
    ]
    logger.debug("found %d classes below %s", len(found), base_class.__qualname__)
    return found


def is_importable(cls: type) -> bool:
    """Whether a class can be found again by its module and qualified name."""
    found: object = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def infer_discovery_package(cls: type) -> str | None:
    """Return the package that holds a base class; None if plugins could not import the class.

    That is so for a class made inside a function and for one in a script.
    """
    module = sys.modules.get(cls.__module__)
    if "<locals>" in cls.__qualname__ or cls.__module__ == _SCRIPT or module is None:
        return None
    if hasattr(module, "__path__"):
        return cls.__module__
    return cls.__module__.rpartition(".")[0] or None
