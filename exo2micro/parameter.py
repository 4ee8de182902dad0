"""One row of the parameter registry: its meaning, its rules and how its values are written."""

import math
import numbers
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exo2micro.errors import ParameterError

Value = bool | int | float | str | None

_STRING_VALUE = re.compile(r"[a-z0-9]+")
_ABBREVIATION = re.compile(r"[a-z]{1,8}")
_OFF = ("none", "off")


def _written(choice: str | bool) -> str:
    """Return a choice as configuration files have it."""
    return choice if isinstance(choice, str) else str(choice).lower()


def plain_word(text: str) -> str:
    """Return a name as file names can hold it: lower-case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline.

    It unpacks to ``default, abbreviation, stage, description``.

    Parameters
    ----------
    default : bool, int, float, str or None
        Value that is used when nobody sets another one.
    abbreviation : str
        One to eight lower-case letters, unique; stands in file names and, upper-case, in FITS
        headers.
    stage : int
        Number of the first stage that uses the parameter.
    description : str
        What it steers, in plain words.
    kind : type, optional
        ``bool``, ``int``, ``float`` or ``str``; by default the type of `default`
        (``float`` for None).
    bounds : tuple of float, optional
        Lowest and highest value allowed, both included; None means no limit on that side.
    choices : tuple of str or bool, optional
        The values allowed for a string; True and False may be among them.
    unit : str, optional
        Unit of the value, e.g. ``px``.
    nullable : bool, optional
        Whether None ("off") is a value; by default if `default` is None.
    normalise : callable, optional
        Applied to a string before it is checked, so that several spellings are one value.

    Raises
    ------
    ParameterError
        If the row itself makes no sense.
    """

    default: Value
    abbreviation: str
    stage: int
    description: str
    kind: type = field(default=type(None))
    bounds: tuple[float | None, float | None] = (None, None)
    choices: tuple[str | bool, ...] = ()
    unit: str = ""
    nullable: bool = False
    normalise: Callable[[str], str] | None = None

    _FIELDS: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.kind is type(None):
            inferred = float if self.default is None else type(self.default)
            object.__setattr__(self, "kind", inferred)
        if self.default is None:
            object.__setattr__(self, "nullable", True)
        if self.kind not in (bool, int, float, str):
            msg = f"a parameter is a bool, int, float or str, got {self.kind.__name__}"
            raise ParameterError(msg)
        if not _ABBREVIATION.fullmatch(self.abbreviation):
            msg = (
                "an abbreviation is 1 to 8 lower-case letters "
                f"(it becomes a FITS keyword), got {self.abbreviation!r}"
            )
            raise ParameterError(msg)
        if not self.description:
            msg = f"parameter with abbreviation {self.abbreviation!r} needs a description"
            raise ParameterError(msg)
        if not isinstance(self.stage, int) or isinstance(self.stage, bool) or self.stage < 1:
            msg = f"stage must be a whole number >= 1, got {self.stage!r}"
            raise ParameterError(msg)
        object.__setattr__(self, "default", self.validated(self.default, self.abbreviation))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.default, self.abbreviation, self.stage, self.description))

    def __len__(self) -> int:
        return self._FIELDS

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return tuple(self)[index]

    @property
    def rule(self) -> str:
        """The allowed values in words."""
        low, high = self.bounds
        noun = {bool: "True or False", int: "a whole number", float: "a number", str: "a word"}
        text = noun[self.kind]
        if self.choices:
            text = "one of " + ", ".join(map(_written, self.choices))
        elif self.kind is str:
            case = "" if self.normalise else "lower-case "
            text += f" of {case}letters and digits"
        if self.unit and self.kind in (int, float):
            text += f" of {self.unit}"
        if low is not None and high is not None:
            text += f" from {low:g} to {high:g}"
        elif low is not None:
            text += f" >= {low:g}"
        elif high is not None:
            text += f" <= {high:g}"
        return text + (" or None (off)" if self.nullable else "")

    def validated(self, value: object, name: str) -> Value:
        """Return the value in its proper type.

        Raises
        ------
        ParameterError
            If type, bounds or choices are violated.
        """
        is_off = value is None or (self.kind is str and str(value).lower() in _OFF)
        if is_off and self.nullable:
            return None
        converted = self._converted(value)
        if converted is None or not self._allowed(converted):
            msg = f"{name} must be {self.rule}, got {value!r}"
            raise ParameterError(msg)
        return converted

    def _converted(self, value: object) -> Value:
        """Return the value as `kind`, or None where it is of another type."""
        is_bool = isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
        if self.kind is bool or (is_bool and bool in map(type, self.choices)):
            return bool(value) if is_bool else None
        if self.kind is str:
            if not isinstance(value, str):
                return None
            return self.normalise(value) if self.normalise else str(value)
        if is_bool or not isinstance(value, numbers.Real):
            return None
        number = float(value)
        if not math.isfinite(number):
            return None
        if self.kind is int:
            return int(number) if number.is_integer() else None
        return number + 0.0  # -0.0 and 0.0 are one value

    def _allowed(self, value: Value) -> bool:
        if isinstance(value, str):
            if self.choices:
                return value in self.choices
            means_off = self.nullable and value in _OFF
            return bool(_STRING_VALUE.fullmatch(value)) and not means_off
        low, high = self.bounds
        if value is None or isinstance(value, bool):
            return True
        return (low is None or value >= low) and (high is None or value <= high)

    def format(self, value: Value) -> str:
        """Return the value as it stands in a file name."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, float):
            short = f"{value:g}"
            return short if float(short) == value else repr(value)
        return str(value)

    def parse(self, text: str) -> Value:
        """Return the value that a person or a file name wrote as text.

        Raises
        ------
        ParameterError
            If the text is not a value of this parameter.
        """
        word = text.strip()
        if self.nullable and word.lower() in _OFF:
            return None
        if self.kind is bool:
            truth = {"1": True, "true": True, "yes": True, "on": True}
            truth |= {"0": False, "false": False, "no": False, "off": False}
            value: object = truth.get(word.lower(), text)
        elif self.kind is str:
            value = {_written(choice): choice for choice in self.choices}.get(word, word)
        else:
            try:
                value = int(word) if self.kind is int else float(word)
            except ValueError:
                value = text
        return self.validated(value, self.abbreviation)

    def could_start_with(self, letters: str) -> bool:
        """Tell whether some value, as written in a file name, may start with these letters."""
        words = [*map(_written, self.choices)] + (["none"] if self.nullable else [])
        if self.kind is str and not self.choices:
            return True
        return any(w.startswith(letters) or letters.startswith(w) for w in words)
