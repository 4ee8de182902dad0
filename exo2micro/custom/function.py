"""A custom function as plain data: source, name and what the source says about it."""

import ast
import hashlib
import linecache
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any, Final

from exo2micro.errors import CustomFunctionError, FrameworkMissingError

MODULE_PREFIX: Final = "exo2micro.custom_functions"
"""First part of the ``__module__`` of custom functions; no module of that name is importable, so
that functions are sent to other processes by value."""


@dataclass(frozen=True)
class FunctionParameter:
    """One parameter of the user's own.

    Attributes
    ----------
    name : str
        Its name.
    default : bool, int, float, str, None, or a tuple of these
        Its default.
    annotation : str
        Its annotation as in the source; empty if there is none.
    """

    name: str
    default: Any
    annotation: str = ""

    def __str__(self) -> str:
        typed = f"{self.name}: {self.annotation} = " if self.annotation else f"{self.name}="
        return f"{typed}{self.default!r}"


@dataclass(frozen=True)
class CustomFunction:
    """A custom function, known without being executed.

    It holds nothing but data: it may be pickled and loaded in a process that has no store.

    Attributes
    ----------
    name : str
        Name of the function.
    kind : str
        ``image``, ``diagnostic``, ``scale_estimator`` or ``reader``.
    code : str
        All source that it needs; the line numbers are those of the source that was registered.
    sha256 : str
        Hash of `code`, 64 hexadecimal digits.
    doc : str
        Docstring; empty if there is none.
    parameters : tuple of FunctionParameter
        The user's own parameters, in the order of the signature.
    memory_type : str
        Memory type of an image function, empty for other kinds.
    options : mapping
        Literal arguments of the decorator, e.g. ``caption`` or ``suffixes``.
    line_number : int
        Line of the ``def``.
    """

    name: str
    kind: str
    code: str = field(repr=False)
    sha256: str
    doc: str = ""
    parameters: tuple[FunctionParameter, ...] = ()
    memory_type: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    line_number: int = 1

    @property
    def hash8(self) -> str:
        """The first eight digits of the hash."""
        return self.sha256[:8]

    @property
    def caption(self) -> str:
        """What a diagnostic's picture shows."""
        return str(self.options.get("caption") or self.doc.partition("\n")[0])

    @property
    def file_name(self) -> str:
        """Name under which the source stands in tracebacks."""
        return f"<exo2micro custom {self.name} {self.hash8}>"

    def load(self) -> Callable[..., Any]:
        """Execute the source, once for each hash in a process, and return the function.

        Raises
        ------
        CustomFunctionError
            If the source cannot be executed; the message names its line.
        FrameworkMissingError
            If it imports an array framework that is not installed.
        """
        return _loaded(self)

    def line_of(self, error: BaseException) -> int | None:
        """Return the last line of this source that an error came through, None if none."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == self.file_name
        ]
        if not lines and isinstance(error, SyntaxError) and error.filename == self.file_name:
            return error.lineno
        return lines[-1] if lines else None


def hash_of(code: str) -> str:
    """Return the SHA-256 of a source."""
    return hashlib.sha256(code.encode()).hexdigest()


def namespace() -> dict[str, Any]:
    """Return the names that a source may use without importing them."""
    import numpy as np

    return {"np": np, **decorators()}


def decorators() -> dict[str, Callable[..., Any]]:
    """Return all decorators by the names under which a source may use them."""
    from exo2micro.custom.decorators import diagnostic, reader, scale_estimator
    from exo2micro.custom.memory import memory_decorators

    marks = (diagnostic, scale_estimator, reader)
    return {**memory_decorators(), **{mark.__name__: mark for mark in marks}}


@lru_cache(maxsize=1024)
def _loaded(function: CustomFunction) -> Callable[..., Any]:
    lines = function.code.splitlines(keepends=True)
    name = function.file_name
    # No modification time: checkcache leaves such an entry alone.
    linecache.cache[name] = (len(function.code), None, lines, name)
    module = ModuleType(f"{MODULE_PREFIX}.{function.name}")
    vars(module).update(namespace())
    try:
        exec(compile(function.code, name, "exec", dont_inherit=True), vars(module))
        loaded = vars(module)[function.name]
    except FrameworkMissingError:
        raise
    except (Exception, SystemExit) as error:
        line = function.line_of(error)
        where = f" in line {line}" if line else ""
        msg = (
            f"the custom function {function.name!r} cannot be loaded: {type(error).__name__}"
            f"{where}: {error}; correct it with `exo2micro custom edit {function.name}`"
        )
        raise CustomFunctionError(msg) from error
    if not callable(loaded):
        msg = (
            f"{function.name!r} is no function after its source was executed, but a "
            f"{type(loaded).__name__}; do not use its name for anything else"
        )
        raise CustomFunctionError(msg)
    return loaded  # type: ignore[no-any-return]


def snippet(code: str, line_number: int) -> str:
    """Return a line of a source without its indentation; empty beyond the end."""
    lines = code.splitlines()
    return lines[line_number - 1].strip() if 0 < line_number <= len(lines) else ""


def literal(node: ast.expr) -> Any:  # noqa: ANN401 - any literal
    """Return the value of a literal; lists become tuples.

    Raises
    ------
    ValueError
        If the expression is not a literal of numbers, texts, truth values, None and tuples.
    """
    value = ast.literal_eval(node)
    if isinstance(value, list):
        value = tuple(value)
    _check_plain(value)
    return value


def _check_plain(value: object) -> None:
    items = value if isinstance(value, tuple) else (value,)
    if not all(item is None or isinstance(item, bool | int | float | str) for item in items):
        msg = f"{value!r} is not a number, text, truth value, None or tuple of these"
        raise ValueError(msg)
