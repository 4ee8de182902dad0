"""Where a value comes from."""

from dataclasses import dataclass
from pathlib import Path

from exo2micro.parameter import Value

LAYERS = ("default", "user file", "project file", "batch", "run", "stage")
"""The layers, lowest first: a value in a later one hides those below."""


@dataclass(frozen=True)
class Source:
    """Where a value was set.

    Attributes
    ----------
    layer : str
        One of `LAYERS`, or ``context`` for what `config_context` was given in a program.
    place : str
        File or call; empty for a default.
    line : int or None
        Line of a file, counted from 1.
    """

    layer: str
    place: str = ""
    line: int | None = None

    def __str__(self) -> str:
        if not self.place:
            return self.layer
        if self.line is None:
            return self.place
        return f"{self.layer} {self.place}:{self.line}"

    @property
    def short(self) -> str:
        """The source without folder and line, as a form shows it beside a field."""
        return self.place if self.line is None and self.place else self._file_name()

    def _file_name(self) -> str:
        return Path(self.place).name if self.place else self.layer


DEFAULT = Source("default")


@dataclass(frozen=True)
class Setting:
    """A value and where it was set."""

    value: Value
    source: Source
