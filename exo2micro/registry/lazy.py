"""The primary registry of a plugin family: a dict that finds its classes on first use."""

import threading
from typing import Any, Generic, NoReturn, TypeVar

from exo2micro.registry.config import RegistryConfig
from exo2micro.registry.discovery import is_importable
from exo2micro.registry.exceptions import RegistryError, UnknownKeyError
from exo2micro.registry.gate import DiscoveryGate
from exo2micro.registry.mapping import DiscoveringDict
from exo2micro.registry.scan import FamilyScanner
from exo2micro.registry.secondary import empty_secondaries, fill_secondaries

T = TypeVar("T")


class LazyDiscoveryDict(DiscoveringDict[T], Generic[T]):
    """Key to class; the first use of any mapping operation imports the family's plugins.

    Discovery runs once, in one thread, while others wait. Code that runs during discovery itself
    (the body of a plugin module) sees the classes that are registered so far. If discovery
    fails, the error is raised and the next use tries again.

    Mutating operations keep the family's secondary dicts in step. Assigning to a key replaces
    its class whatever the duplicate policy. ``copy()``, ``|`` and `copy.copy` give plain dicts.
    Pickling a family's registry writes a reference to the family: the receiving process
    discovers for itself, and classes that were made at run time are not carried along.

    Parameters
    ----------
    enable_cache : bool
        Whether to remember between processes which modules of the package hold plugins.
    """

    def __init__(self, enable_cache: bool = True) -> None:
        super().__init__()
        self._enable_cache = enable_cache
        self._base_class: type | None = None
        self._config: RegistryConfig | None = None
        self._scanner: FamilyScanner | None = None
        self._discovered = False
        self._gate = DiscoveryGate()
        self._discoverer: int | None = None
        self._early: dict[str, T] = {}

    def _set_config(self, base_class: type, config: RegistryConfig) -> None:
        """Make this the registry of the family of ``base_class``."""
        self._base_class = base_class
        self._config = config
        self._scanner = FamilyScanner(base_class, config, enable_cache=self._enable_cache)

    def _ensure_discovered(self) -> None:
        self._discover()

    def _discover(self) -> None:
        """Import the plugins, unless that was done or is being done further up the stack."""
        if self._discovered or self._scanner is None:
            return
        if self._gate.enter(lambda: self._discovered):
            self._run(self._scanner, again=False)

    def _run(self, scanner: FamilyScanner, *, again: bool) -> None:
        """Scan, having entered the gate."""
        try:
            self._discovered = False
            self._discoverer = threading.get_ident()
            self._early = {} if again else self._snapshot()
            if again:
                scanner.rescan()
            else:
                scanner.scan()
            self._discovered = True
        finally:
            self._early = {}
            self._discoverer = None
            self._gate.leave()

    def reload(self) -> None:
        """Discover again: new, changed and removed plugin files take effect.

        A changed module is imported anew, so its classes are new objects; others stay as they
        are. Classes made at run time stay, unregistered classes of the package come back.

        Raises
        ------
        RegistryError
            If called while discovery is running in this thread.
        DiscoveryError
            As on first use.
        """
        if self._scanner is None:
            return
        if not self._gate.enter(lambda: False):
            msg = f"reload() of the {self._name} registry was called during its own discovery"
            raise RegistryError(msg)
        self._run(self._scanner, again=True)

    def unregister(self, key: str) -> T:
        """Remove a class, from the secondary dicts too, and return it.

        Raises
        ------
        UnknownKeyError
            If no class has that key.
        """
        cls = self[key]
        del self[key]
        return cls

    def __missing__(self, key: str) -> NoReturn:
        """Say which keys there are.

        Raises
        ------
        UnknownKeyError
            Always.
        """
        from difflib import get_close_matches

        known = [name for name in self._snapshot() if isinstance(name, str)]
        close = get_close_matches(str(key), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        listed = ", ".join(sorted(known)) or "none"
        msg = f"there is no {self._name} {key!r}{hint} (registered: {listed})"
        raise UnknownKeyError(msg)

    @property
    def _name(self) -> str:
        return "class" if self._config is None else self._config.registry_name

    def _keeps(self, key: str, previous: object, cls: type) -> bool:
        """Whether a class of the package must not displace one from outside.

        Before and during discovery, the package's classes arrive late although they count as
        older, and so do plugins of other distributions beside classes of the user's own.
        """
        if self._discovered or self._is_inside(previous):
            return False
        is_found_now = self._discoverer == threading.get_ident() and key in self._early
        return self._is_inside(cls) or is_found_now

    def _is_inside(self, cls: object) -> bool:
        package = None if self._config is None else self._config.discovery_package
        module = getattr(cls, "__module__", "")
        return package is not None and f"{module}.".startswith(f"{package}.")

    def _entries_changed(self, before: dict[str, T]) -> None:
        if self._config is None or not self._config.secondary_registries:
            return
        after = self._snapshot()
        for key, cls in before.items():
            if isinstance(cls, type) and after.get(key) is not cls:
                empty_secondaries(cls, key, self._config)
        for key, cls in after.items():
            if isinstance(cls, type) and before.get(key) is not cls:
                fill_secondaries(cls, key, self._config)

    def _is_reference_enough(self) -> bool:
        """Whether another process that imports the base class gets this registry with it."""
        base: Any = self._base_class
        return base is not None and is_importable(base) and base.__registry__ is self

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle as a reference to the family where there is one, else with the entries."""
        if self._is_reference_enough():
            return _registry_of, (self._base_class,)
        return _detached, (type(self), self._enable_cache, self.copy())


def _registry_of(base_class: Any) -> LazyDiscoveryDict[Any]:  # noqa: ANN401 - a family's base
    registry: LazyDiscoveryDict[Any] = base_class.__registry__
    return registry


def _detached(
    kind: type[LazyDiscoveryDict[T]], enable_cache: bool, items: dict[str, T]
) -> LazyDiscoveryDict[T]:
    registry = kind(enable_cache=enable_cache)
    for key, cls in items.items():
        registry._put(key, cls)
    return registry
