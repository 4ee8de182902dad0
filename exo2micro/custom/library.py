"""Looking custom functions up: by name, in the store and in this process."""

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from psygnal import Signal, SignalInstance

from exo2micro.custom.function import CustomFunction
from exo2micro.custom.isolation import Limits, isolated
from exo2micro.custom.kinds import PLAIN
from exo2micro.custom.names import unknown
from exo2micro.custom.signals import IsolatedSignal, functions_changed
from exo2micro.custom.store import CustomFunctionInfo, FunctionStore, Snapshot, store_folder
from exo2micro.errors import CustomFunctionError, FrameworkMissingError

logger = logging.getLogger(__name__)

Function = Callable[..., Any]

BACKEND: Final = "custom"
"""Backend of the functions of the store: their composite key is ``custom:name``."""


@dataclass(frozen=True)
class LoadReport:
    """What loading all functions gave.

    Attributes
    ----------
    loaded : tuple of str
        Names of the functions that can be used.
    failed : mapping
        Why a file or function was left out, by name.
    """

    loaded: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Session:
    """What a process knows about one folder beyond its files, shared by its managers.

    Attributes
    ----------
    unsaved : dict
        Functions that are kept in this process only, by name.
    objects : dict
        Function objects without a source, by name; with ``backend:`` for other backends.
    isolated : set of str
        Hashes of sources that this process does not execute itself to tell listeners.
    announced : dict, optional
        The state that `functions_changed` told last.
    """

    unsaved: dict[str, CustomFunction] = field(default_factory=dict)
    objects: dict[str, Function] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)
    announced: dict[str, str] | None = None


@functools.cache
def session_of(folder: Path) -> Session:  # noqa: ARG001 - one for each folder
    """Return the session of a folder."""
    return Session()


class FunctionLibrary:
    """Finds custom functions by name.

    The folder is read on the first look-up, and again whenever it has changed, by whichever
    process.

    Parameters
    ----------
    storage_dir : path, optional
        Folder of the functions; by default what the environment variable `EXO2MICRO_CUSTOM_DIR`
        names, else ``exo2micro/custom_functions`` in the platform's folder for user data.

    Attributes
    ----------
    function_added, function_updated : psygnal signal
        Emitted with name and function, once for each function of a change.
    function_removed : psygnal signal
        Emitted with the name.
    last_load_report : LoadReport
        What `load_all_custom_functions` found last.
    """

    function_added: ClassVar[Signal] = Signal(str, object, signal_instance_class=IsolatedSignal)
    function_updated: ClassVar[Signal] = Signal(str, object, signal_instance_class=IsolatedSignal)
    function_removed: ClassVar[Signal] = Signal(str, signal_instance_class=IsolatedSignal)

    def __init__(self, storage_dir: str | Path | None = None) -> None:
        self._store = FunctionStore(store_folder(storage_dir))
        self._session = session_of(self._store.folder)
        self._snapshot = Snapshot()
        self._seen: dict[str, str] | None = None
        self._mutex = threading.RLock()
        self.last_load_report = LoadReport()

    @property
    def storage_dir(self) -> Path:
        """Folder of the functions."""
        return self._store.folder

    def get(self, name: str) -> CustomFunction:
        """Return a function as data, with its source; nothing is executed.

        Parameters
        ----------
        name : str
            Its name, or ``custom:name``.

        Raises
        ------
        UnknownFunctionError
            If there is no such function; the message holds near names.
        CustomFunctionError
            If its file is broken, or it was registered without a source.
        """
        name = name.removeprefix(f"{BACKEND}:")
        self.refresh()
        found = self._session.unsaved.get(name) or self._snapshot.functions.get(name)
        if found is not None:
            return found
        if name in self._snapshot.broken:
            msg = f"the custom function {name!r} cannot be used: {self._snapshot.broken[name]}"
            raise CustomFunctionError(msg)
        if name in self._session.objects:
            msg = (
                f"the function {name!r} was registered as an object, without its source; register "
                "its source with add_function to use it here"
            )
            raise CustomFunctionError(msg)
        raise unknown(name, self._known())

    def get_function(
        self,
        name: str,
        backend: str = BACKEND,
        *,
        run_isolated: bool = False,
        limits: Limits | None = None,
    ) -> Function:
        """Return a function to call.

        Parameters
        ----------
        name : str
            Its name, or the composite key ``backend:name``.
        backend : str
            Where it was registered.
        run_isolated : bool
            Return a callable that runs it in a process of its own.
        limits : Limits, optional
            Limits of that process.

        Raises
        ------
        UnknownFunctionError
            If there is no such function.
        """
        backend, _, name = name.rpartition(":") if ":" in name else (backend, ":", name)
        key = name if backend == BACKEND else f"{backend}:{name}"
        if run_isolated:
            return isolated(self.get(key), limits)
        if key in self._session.objects:
            return self._session.objects[key]
        if backend != BACKEND:
            raise unknown(key, self._session.objects)
        return self.get(name).load()

    def get_function_code(self, name: str) -> str:
        """Return the source of a function, also of one whose file is broken."""
        name = name.removeprefix(f"{BACKEND}:")
        self.refresh()
        if name in self._snapshot.broken:
            return self._store.text_of(name)
        return self.get(name).code

    def functions(self) -> dict[str, CustomFunction]:
        """Return all functions that have a source, by name; nothing is executed."""
        self.refresh()
        return self._sources()

    def list_custom_functions(self) -> list[CustomFunctionInfo]:
        """Return what is known of all functions, by name; nothing is executed."""
        self.refresh()
        stored = [_info(f, self._store.path_of(n)) for n, f in self._snapshot.functions.items()]
        unsaved = [_info(f, None) for f in self._session.unsaved.values()]
        objects = [_object_info(n, f) for n, f in self._session.objects.items() if ":" not in n]
        return sorted([*stored, *unsaved, *objects], key=lambda info: info.name)

    def broken_files(self) -> dict[str, str]:
        """Return why a file of the store is left out, by its name without ending."""
        self.refresh()
        return dict(self._snapshot.broken)

    def load_all_custom_functions(self) -> int:
        """Execute all functions of the store and return how many can be used.

        One that cannot is logged and reported in `last_load_report`, and does not stop the rest.
        """
        self.refresh()
        failed = dict(self._snapshot.broken)
        loaded = []
        for name, function in self._snapshot.functions.items():
            try:
                function.load()
            except (CustomFunctionError, FrameworkMissingError) as error:
                failed[name] = str(error)
            else:
                loaded.append(name)
        for message in failed.values():
            logger.warning("%s", message)
        self.last_load_report = LoadReport(tuple(loaded), failed)
        return len(loaded)

    load_all_functions = load_all_custom_functions

    def refresh(self) -> bool:
        """Look whether functions have changed, tell listeners, and return whether any has.

        Every look-up does this; a program that only waits may call it now and then.
        """
        with self._mutex:
            self._snapshot = self._store.read(self._snapshot)
            before, after = self._seen, self._known()
            self._seen = after
            told, self._session.announced = self._session.announced, after
        if before is not None:
            self._tell(before, after)
        if told is not None and told != after:
            functions_changed.emit()
        return before is not None and before != after

    def _tell(self, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                self.function_removed.emit(name)
            elif before.get(name) != after[name]:
                signal = self.function_updated if name in before else self.function_added
                if len(signal):  # a function is executed only if somebody wants it
                    self._emit(signal, name)

    def _emit(self, signal: SignalInstance, name: str) -> None:
        try:
            isolates = self._known()[name] in self._session.isolated
            signal.emit(name, self.get_function(name, run_isolated=isolates))
        except (CustomFunctionError, FrameworkMissingError) as error:
            logger.warning("%s", error)

    def _sources(self) -> dict[str, CustomFunction]:
        """Return all functions that have a source."""
        return {**self._snapshot.functions, **self._session.unsaved}

    def _known(self) -> dict[str, str]:
        """Return what changes when a function does, by name."""
        objects = {n: f"object {id(f)}" for n, f in self._session.objects.items() if ":" not in n}
        return objects | {name: f.sha256 for name, f in self._sources().items()}


def _info(function: CustomFunction, path: Path | None) -> CustomFunctionInfo:
    return CustomFunctionInfo(
        name=function.name,
        file_path=path,
        memory_type=function.memory_type,
        doc=function.doc,
        kind=function.kind,
        parameters=function.parameters,
        sha256=function.sha256,
    )


def _object_info(name: str, function: Function) -> CustomFunctionInfo:
    return CustomFunctionInfo(
        name=name,
        file_path=None,
        memory_type=str(getattr(function, "input_memory_type", "")),
        doc=function.__doc__ or "",
        kind=kind_of(function),
        parameters=(),
        sha256="",
    )


def kind_of(function: Function) -> str:
    """Return the kind that a function object's decorator gave it."""
    if hasattr(function, "input_memory_type"):
        return "image"
    return str(getattr(function, "custom_kind", PLAIN))
