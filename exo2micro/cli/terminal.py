"""Where commands write: results to stdout, everything else to stderr."""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDTH_WHEN_PIPED = 160
_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


@dataclass
class Terminal:
    """The streams of one invocation and how much is said on them.

    Attributes
    ----------
    verbosity : int
        Below 0 quiet, 0 normal, 1 the library's remarks, 2 and more its details and tracebacks.
    json : bool
        Whether stdout carries exactly one JSON document.
    """

    verbosity: int = 0
    json: bool = False

    @cached_property
    def out(self) -> "Console":
        """Console on stdout, for results."""
        return _console(stderr=False)

    @cached_property
    def err(self) -> "Console":
        """Console on stderr, for progress, remarks and errors."""
        return _console(stderr=True)

    def result(
        self, document: Mapping[str, Any], render: "Callable[[], RenderableType | str]"
    ) -> None:
        """Write a command's result.

        Parameters
        ----------
        document : mapping
            The result for programs; written as JSON if that is asked for.
        render : callable
            Returns the result for people.
        """
        if self.json:
            click.echo(json.dumps(to_jsonable(document), indent=1, allow_nan=False))
        else:
            content = render()
            self.out.print(content, soft_wrap=isinstance(content, str))

    def say(self, text: str) -> None:
        """Write a remark to stderr unless quiet."""
        if self.verbosity >= 0:
            self.err.print(text, soft_wrap=True)

    def error(self, text: str, kind: str) -> None:
        """Write an error: one red line on stderr, and a document where JSON was asked for."""
        if self.json:
            click.echo(json.dumps({"error": {"type": kind, "message": text}}, indent=1))
        click.secho(f"error: {text}", fg="red", err=True)

    @contextmanager
    def logging(self, *, shows_warnings: bool = True) -> Iterator[None]:
        """Show the library's log and warnings on stderr while the context lasts.

        Parameters
        ----------
        shows_warnings : bool, optional
            False where the result itself repeats them; then they are shown from ``-v`` on.
        """
        logger = logging.getLogger("exo2micro")
        handler = _Handler(self)
        level, propagate = logger.level, logger.propagate
        logger.addHandler(handler)
        verbosity = self.verbosity if shows_warnings or self.verbosity else -1
        logger.setLevel(_LEVELS[max(-1, min(verbosity, 2))])
        logger.propagate = False
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore" if self.verbosity < 1 else "default")
            try:
                yield
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = propagate


class _Handler(logging.Handler):
    """Writes log records as plain lines that do not disturb a progress display."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        if record.exc_info and self._terminal.verbosity > 1:
            line += "\n" + logging.Formatter().formatException(record.exc_info)
        self._terminal.err.print(line, style=style, soft_wrap=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if is_terminal else _WIDTH_WHEN_PIPED
    return Console(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def to_jsonable(value: object) -> Any:  # noqa: ANN401
    """Return a value as JSON can hold it; numbers that are not finite become null."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return to_jsonable(value.tolist())
    return str(value)
