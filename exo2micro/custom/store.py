"""Where custom functions are kept: one file per function, several processes at once."""

import contextlib
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from exo2micro.custom.declaration import read_source
from exo2micro.custom.function import CustomFunction, FunctionParameter, hash_of
from exo2micro.custom.names import check_form
from exo2micro.custom.transaction import JOURNAL, change_files, recover
from exo2micro.errors import CustomFunctionError, OutputLockedError
from exo2micro.raster.atomic import explain_os_errors, make_folder

FOLDER_VARIABLE: Final = "EXO2MICRO_CUSTOM_DIR"
"""Environment variable that names the folder."""

LOCK_TIMEOUT_S: Final = 60.0
"""A change takes milliseconds; who waits longer waits for a process that hangs."""

_LOCK, _GENERATION, _HISTORY = ".lock", ".generation", ".history"

Stamp = tuple[str, tuple[tuple[str, int, int, int], ...]]
"""Mark of the last change, and name, time, size and inode of every file that counts."""

_EMPTY: Final[Stamp] = ("", ())


@dataclass(frozen=True)
class CustomFunctionInfo:
    """What a list of custom functions shows.

    Attributes
    ----------
    name : str
        Name of the function.
    file_path : Path or None
        Its file; None if it is kept in this process only.
    memory_type : str
        Memory type of a function on images, empty for others.
    doc : str
        Docstring.
    kind : str
        ``image``, ``diagnostic``, ``scale_estimator``, ``reader``, or ``function`` for an object
        without a memory type.
    parameters : tuple of FunctionParameter
        The user's own parameters.
    sha256 : str
        Hash of the source; empty for an object that was registered without one.
    """

    name: str
    file_path: Path | None
    memory_type: str
    doc: str
    kind: str
    parameters: tuple[FunctionParameter, ...]
    sha256: str


@dataclass(frozen=True)
class FunctionVersion:
    """One version of a function's source.

    Attributes
    ----------
    number : int
        Counts from 1.
    sha256 : str
        Hash of the source.
    code : str
        The source.
    is_current : bool
        Whether it is the one in use.
    """

    number: int
    sha256: str
    code: str = field(repr=False)
    is_current: bool


@dataclass(frozen=True)
class Snapshot:
    """What the store held at one moment.

    Attributes
    ----------
    stamp : tuple
        Changes whenever a file does.
    functions : mapping
        The functions, by name.
    broken : mapping
        Why a file is left out, by its stem.
    """

    stamp: Stamp = _EMPTY
    functions: Mapping[str, CustomFunction] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)


def store_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of custom functions.

    Parameters
    ----------
    folder : path, optional
        Taken if given; else the environment variable `EXO2MICRO_CUSTOM_DIR` names it, else it
        lies in the platform's folder for user data.
    """
    chosen = folder or os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("exo2micro", appauthor=False) / "custom_functions"


class FunctionStore:
    """A folder of functions. Nothing is created before something is written.

    Parameters
    ----------
    folder : Path
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / _LOCK, timeout=LOCK_TIMEOUT_S)

    def path_of(self, name: str) -> Path:
        """Return the file of a function."""
        check_form(name)
        return self.folder / f"{name}.py"

    def stamp(self) -> Stamp:
        """Return what changes whenever the store does, at the cost of listing the folder."""
        found = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    is_hidden = entry.name.startswith(".")
                    if entry.name == JOURNAL or (entry.name.endswith(".py") and not is_hidden):
                        # One that went while the folder was listed hides no other.
                        with contextlib.suppress(FileNotFoundError):
                            found.append((entry.name, entry.stat()))
        except FileNotFoundError:
            return _EMPTY
        files = sorted((n, s.st_mtime_ns, s.st_size, s.st_ino) for n, s in found)
        return self._generation(), tuple(files)

    def _generation(self) -> str:
        """Return the mark of the last change: two changes may share one tick of the clock."""
        try:
            return (self.folder / _GENERATION).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    def read(self, before: Snapshot) -> Snapshot:
        """Return what the store holds; `before` itself if nothing has changed since."""
        if self.stamp() == before.stamp:
            return before
        if not self.folder.exists():
            return Snapshot()
        if not os.access(self.folder, os.W_OK):  # a shared store that others fill
            return self._read(before)
        with self.locked():
            return self._read(before)

    def _read(self, before: Snapshot) -> Snapshot:
        stamp = self.stamp()
        functions: dict[str, CustomFunction] = {}
        broken: dict[str, str] = {}
        for name, *_ in stamp[1]:
            if not name.endswith(".py"):
                continue
            stem = name.removesuffix(".py")
            try:
                functions[stem] = self._function(stem, before.functions.get(stem))
            except (CustomFunctionError, OSError, UnicodeDecodeError) as error:
                broken[stem] = f"{self.folder / name}: {error}"
        return Snapshot(stamp, functions, broken)

    def _function(self, name: str, before: CustomFunction | None) -> CustomFunction:
        code = self.text_of(name)
        if before is not None and before.code == code:
            return before
        declared = read_source(code).decorated
        if name not in declared:
            msg = (
                f"the file holds no decorated function {name!r}; correct it with "
                f"`exo2micro custom edit {name}` or remove it"
            )
            raise CustomFunctionError(msg)
        return declared[name].as_function()

    def text_of(self, name: str) -> str:
        """Return the text of a function's file."""
        return self.path_of(name).read_text(encoding="utf-8")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; a change that one of them left unfinished is completed.

        Raises
        ------
        OutputLockedError
            If another process keeps it for a minute.
        OutputError
            If the folder cannot be written.
        """
        make_folder(self.folder)
        with explain_os_errors(self.folder / _LOCK, "lock"):
            try:
                self._lock.acquire()
            except Timeout:
                msg = (
                    f"the custom functions in {self.folder} are in use by another process for "
                    f"more than {LOCK_TIMEOUT_S:.0f} s; end it and try again"
                )
                raise OutputLockedError(msg) from None
        try:
            recover(self.folder)
            yield
        finally:
            self._lock.release()

    def write(self, codes: Mapping[str, str | None]) -> None:
        """Write and remove functions together and keep what they replace; the lock is held.

        Parameters
        ----------
        codes : mapping
            Source by name; None removes a function.
        """
        changes: dict[str, str | None] = {}
        for name, code in codes.items():
            path = self.path_of(name)
            if path.exists():
                old = path.read_bytes().decode(errors="replace")
                changes[f"{_HISTORY}/{name}/{self._next_number(name):04d}.py"] = old
            changes[path.name] = code
        changes[_GENERATION] = uuid.uuid4().hex
        change_files(self.folder, changes)

    def versions(self, name: str) -> tuple[FunctionVersion, ...]:
        """Return all versions of a function, the oldest first; those of a removed one remain."""
        path = self.path_of(name)
        found = [
            _version(int(old.stem), old.read_text(encoding="utf-8"), is_current=False)
            for old in self._replaced(name)
        ]
        if path.exists():
            number = self._next_number(name)
            found.append(_version(number, self.text_of(name), is_current=True))
        return tuple(found)

    def _next_number(self, name: str) -> int:
        replaced = self._replaced(name)
        return int(replaced[-1].stem) + 1 if replaced else 1

    def _replaced(self, name: str) -> list[Path]:
        return sorted((self.folder / _HISTORY / name).glob("*.py"))


def _version(number: int, code: str, *, is_current: bool) -> FunctionVersion:
    return FunctionVersion(number, hash_of(code), code, is_current)
