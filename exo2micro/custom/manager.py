"""The manager: registers custom functions as a whole or not at all."""

import functools
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from exo2micro.custom.bundle import read_bundle, write_bundle
from exo2micro.custom.declaration import read_source
from exo2micro.custom.function import CustomFunction
from exo2micro.custom.isolation import Limits, isolated
from exo2micro.custom.library import BACKEND, FunctionLibrary, kind_of
from exo2micro.custom.names import check_form, check_name, unknown
from exo2micro.custom.store import FunctionVersion, store_folder
from exo2micro.custom.validation import ValidationResult, validate_code
from exo2micro.errors import CustomFunctionError

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


class CustomFunctionManager(FunctionLibrary):
    """Registers, keeps and finds custom functions.

    A change is made as a whole or not at all: first all of its functions are checked, tried out
    and executed, then their files are written, then they are known, then listeners are told.
    See `FunctionLibrary` for the folder, the signals and the look-ups.
    """

    def register_from_code(
        self, code: str, persist: bool = True, *, run_isolated: bool = False
    ) -> list[Function]:
        """Register every decorated function of a source.

        Parameters
        ----------
        code : str
            The source. A function of a known name is replaced.
        persist : bool
            False: keep them in this process only.
        run_isolated : bool
            Try them out in a process of their own, with limits of time and memory.

        Returns
        -------
        list of callable
            The functions, in the order of the source.

        Raises
        ------
        ValidationError
            If any of them is not valid; then nothing is changed.
        """
        result = _validated(code, run_isolated=run_isolated)
        return self._register(result.functions, persist=persist, run_isolated=run_isolated)

    def add_function(self, name: str, code: str, *, run_isolated: bool = False) -> Function:
        """Register one function under the name that its source gives it, or replace it.

        Stricter than `register_from_code`: a function on images is annotated.

        Raises
        ------
        CustomFunctionError
            If the source does not define exactly the function `name`, or is not valid.
        """
        check_form(name)
        function = _only(name, _validated(code, strict=True, run_isolated=run_isolated))
        return self._register([function], persist=True, run_isolated=run_isolated)[0]

    def update_custom_function(
        self, name: str, code: str, *, run_isolated: bool = False
    ) -> Function:
        """Replace the source of a known function; if that fails, the old one stays.

        One that is kept in this process only stays so.

        Raises
        ------
        UnknownFunctionError
            If there is no such function.
        CustomFunctionError
            If the source does not define exactly the function `name`, or is not valid.
        """
        check_form(name)
        self.refresh()
        if name not in self._known() and name not in self._snapshot.broken:
            raise unknown(name, self._known())
        function = _only(name, _validated(code, run_isolated=run_isolated))
        is_kept = name not in self._session.unsaved
        return self._register([function], persist=is_kept, run_isolated=run_isolated)[0]

    def delete_custom_function(self, name: str) -> bool:
        """Remove a function; return whether there was one.

        Its versions are kept, see `rollback`.

        Raises
        ------
        CustomFunctionError
            If `name` cannot be the name of a function, such as a path.
        """
        check_form(name)
        self.refresh()
        with self._mutex:
            in_process = [d for d in (self._session.unsaved, self._session.objects) if name in d]
            is_saved = name in self._snapshot.functions or name in self._snapshot.broken
            if is_saved:
                with self._store.locked():
                    self._store.write({name: None})
            for kept in in_process:
                del kept[name]
            if not is_saved and not in_process:
                return False
        self.refresh()
        return True

    def remove_function(self, name: str) -> None:
        """Remove a function.

        Raises
        ------
        UnknownFunctionError
            If there is no such function.
        """
        if not self.delete_custom_function(name):
            raise unknown(name, self._known())

    def register_function(self, func: Function, backend: str = BACKEND) -> str:
        """Register a function object for this process; it has no source and is not kept.

        Parameters
        ----------
        func : callable
            The function; its ``__name__`` is its name.
        backend : str
            Any name; with ``custom`` it is listed with the functions of the store.

        Returns
        -------
        str
            The composite key ``backend:name``.
        """
        name = getattr(func, "__name__", "")
        check_form(backend)
        if backend != BACKEND:
            check_form(name)
            self._session.objects[f"{backend}:{name}"] = func
            return f"{backend}:{name}"
        self.refresh()
        with self._mutex:
            check_name(name, kind_of(func), self._known())
            if name in self._snapshot.functions or name in self._session.unsaved:
                msg = f"there is a custom function {name!r} with a source; remove it first"
                raise CustomFunctionError(msg)
            self._session.objects[name] = func
        self.refresh()
        return f"{BACKEND}:{name}"

    def history(self, name: str) -> tuple[FunctionVersion, ...]:
        """Return all versions of a function, the oldest first; those of a removed one remain."""
        check_form(name)
        found = self._store.versions(name)
        if not found:
            raise unknown(name, self._known())
        return found

    def rollback(self, name: str, version: int | None = None) -> Function:
        """Make an earlier version of a function the current one; it is checked again.

        Parameters
        ----------
        name : str
            Its name; a removed one comes back.
        version : int, optional
            Number of the version, see `history`; None: the one before the current one.
        """
        versions = self.history(name)
        earlier = {v.number: v for v in versions if not v.is_current}
        number = max(earlier, default=0) if version is None else version
        if number not in earlier:
            msg = (
                f"{name!r} has the earlier versions {sorted(earlier) or 'none'}, got {version!r}; "
                "see history()"
            )
            raise CustomFunctionError(msg)
        function = _only(name, _validated(earlier[number].code))
        return self._register([function], persist=True, run_isolated=False)[0]

    def export_bundle(self, path: str | Path, names: Iterable[str] | None = None) -> list[str]:
        """Write functions to one file for another machine and return their names.

        Parameters
        ----------
        path : path
            The file to write.
        names : iterable of str, optional
            Which; None: all that have a source and are not broken.
        """
        self.refresh()
        chosen = sorted(self._sources() if names is None else set(names))
        if not chosen:
            msg = "there is no custom function to export; register one first"
            raise CustomFunctionError(msg)
        write_bundle(Path(path), [self.get(name) for name in chosen])
        return chosen

    def import_bundle(
        self, path: str | Path, *, overwrite: bool = False, run_isolated: bool = False
    ) -> list[str]:
        """Register all functions of a bundle, or none, and return the names of the new ones.

        Parameters
        ----------
        path : path
            The file.
        overwrite : bool
            Replace functions of the same name whose source differs.
        run_isolated : bool
            Try them out in a process of their own.

        Raises
        ------
        CustomFunctionError
            If the bundle is damaged, a function of it is not valid, or a known function would be
            replaced unasked.
        """
        self.refresh()
        known = self._sources()
        codes = {
            name: code
            for name, code in read_bundle(Path(path)).items()
            if name not in known or known[name].code != code
        }
        clashes = sorted(codes.keys() & known.keys())
        if clashes and not overwrite:
            msg = (
                f"{path} holds other versions of {', '.join(clashes)}; nothing was imported. "
                "Replace them with overwrite=True (--overwrite)"
            )
            raise CustomFunctionError(msg)
        functions = [
            _only(name, _validated(code, run_isolated=run_isolated)) for name, code in codes.items()
        ]
        self._register(functions, persist=True, run_isolated=run_isolated)
        return list(codes)

    def _register(
        self, functions: Sequence[CustomFunction], *, persist: bool, run_isolated: bool
    ) -> list[Function]:
        """Keep checked functions, tell listeners, and return the functions to call."""
        self.refresh()
        if run_isolated:
            self._session.isolated.update(f.sha256 for f in functions)
        with self._mutex:
            if persist:
                self._save(functions)
            else:
                self._check_names(functions)
                self._refuse_saved(functions)
            for function in functions:
                self._session.objects.pop(function.name, None)
                self._session.unsaved.pop(function.name, None)
                if not persist:
                    self._session.unsaved[function.name] = function
        self.refresh()
        return [isolated(f) if run_isolated else f.load() for f in functions]

    def _save(self, functions: Sequence[CustomFunction]) -> None:
        with self._store.locked():
            # What another process has saved since must count for the names.
            self._snapshot = self._store.read(self._snapshot)
            self._check_names(functions)
            saved = self._snapshot.functions
            new = {f.name: f.code for f in functions if saved.get(f.name) != f}
            if new:
                self._store.write(new)

    def _check_names(self, functions: Sequence[CustomFunction]) -> None:
        known = {*self._known(), *self._snapshot.broken, *(f.name for f in functions)}
        for function in functions:
            check_name(function.name, function.kind, known)

    def _refuse_saved(self, functions: Sequence[CustomFunction]) -> None:
        for function in functions:
            if function.name in self._snapshot.functions:
                msg = (
                    f"{function.name!r} is in the store {self.storage_dir}; replace it there with "
                    "persist=True, or give the new function another name"
                )
                raise CustomFunctionError(msg)


def _validated(code: str, *, strict: bool = False, run_isolated: bool = False) -> ValidationResult:
    result = validate_code(code, strict=strict, run_isolated=run_isolated)
    result.raise_for_errors()
    for warning in result.warnings:
        logger.warning("%s", warning)
    return result


def _only(name: str, result: ValidationResult) -> CustomFunction:
    """Return the one function of a source, which must have the name asked for."""
    function = next((f for f in result.functions if f.name == name), None)
    if function is None or len(read_source(function.code).decorated) < len(result.functions):
        msg = (
            f"the source must define {name!r} and no other decorated function that it does not "
            f"use, got {', '.join(result.function_names)}; register_from_code registers several"
        )
        raise CustomFunctionError(msg)
    return function


@functools.cache
def _manager_of(folder: Path) -> CustomFunctionManager:
    return CustomFunctionManager(folder)


def default_manager() -> CustomFunctionManager:
    """Return the manager of the folder that is in use when no other is named."""
    return _manager_of(store_folder())


def get_function(
    name: str, backend: str = BACKEND, *, run_isolated: bool = False, limits: Limits | None = None
) -> Function:
    """Return a custom function of the default folder to call.

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
    manager = default_manager()
    return manager.get_function(name, backend, run_isolated=run_isolated, limits=limits)


def register_function(func: Function, backend: str = BACKEND) -> str:
    """Register a function object for this process and return its composite key.

    Parameters
    ----------
    func : callable
        The function; its ``__name__`` is its name.
    backend : str
        Any name.
    """
    return default_manager().register_function(func, backend)
