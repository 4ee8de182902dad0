"""An extra stage as plain data: which function, after which stage, on what, with which values."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exo2micro.custom.function import CustomFunction
from exo2micro.custom.kinds import PLAIN
from exo2micro.defaults import STAGE_NAMES, unknown_name_message
from exo2micro.errors import ParameterError

ROLES = ("post", "pre", "difference", "pair")
"""What an extra stage may be applied to."""

FIRST_DIFFERENCE_STAGE = 4
_OPTIONS = ("after", "applies_to")
_WORDS = {"true": True, "false": False, "1": True, "0": False, "on": True, "off": False}


@dataclass(frozen=True)
class FunctionStep:
    """A custom function as an extra stage; the name means the version current when a run starts.

    Attributes
    ----------
    function : str
        Name of a function of the store.
    parameters : mapping
        Values of its parameters; those that are not given keep the function's defaults.
    after : int
        Stage that it belongs to and follows.
    applies_to : str
        ``pre``, ``post``, ``pair`` (both, post first) or ``difference``; by default the
        difference after stage 4, else pre.
    source : str
        Who asked for it.
    """

    function: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    after: int = 3
    applies_to: str = ""
    source: str = field(default="run", compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.after, bool) or self.after not in STAGE_NAMES:
            msg = f"after must be one of the stages {sorted(STAGE_NAMES)}, got {self.after!r}"
            raise ParameterError(msg)
        has_difference = self.after >= FIRST_DIFFERENCE_STAGE
        role = self.applies_to or ("difference" if has_difference else "pre")
        if role not in ROLES:
            msg = f"applies_to must be one of {', '.join(ROLES)}, got {self.applies_to!r}"
            raise ParameterError(msg)
        if role == "difference" and not has_difference:
            msg = (
                f"{self.function} after stage {self.after} cannot apply to the difference, which "
                f"stage {FIRST_DIFFERENCE_STAGE} makes; use after={FIRST_DIFFERENCE_STAGE} or "
                "another applies_to"
            )
            raise ParameterError(msg)
        object.__setattr__(self, "applies_to", role)
        object.__setattr__(self, "parameters", dict(self.parameters))

    @classmethod
    def parse(cls, text: str) -> "FunctionStep":
        """Return the step that ``denoise:after=3,applies_to=pre,sigma=2`` describes.

        Raises
        ------
        ParameterError
            If the text is not of that form.
        """
        name, _, rest = text.partition(":")
        pairs = [part.partition("=") for part in rest.split(",") if part.strip()]
        if not name.strip() or any(not equals or not key.strip() for key, equals, _ in pairs):
            msg = f"a stage is written NAME:after=3,parameter=value,..., got {text!r}"
            raise ParameterError(msg)
        values = {key.strip(): value.strip() for key, _, value in pairs}
        return cls.of(name.strip(), values)

    @classmethod
    def of(cls, function: str, values: Mapping[str, Any], source: str = "run") -> "FunctionStep":
        """Return the step of a flat mapping: ``after``, ``applies_to`` and parameters together."""
        options: dict[str, Any] = {key: values[key] for key in _OPTIONS if key in values}
        if isinstance(options.get("after"), str):
            options["after"] = _whole_number(options["after"])
        parameters = {key: value for key, value in values.items() if key not in _OPTIONS}
        return cls(function, parameters, **options, source=source)

    def __str__(self) -> str:
        words = [f"after={self.after}", f"applies_to={self.applies_to}"]
        words += [f"{name}={value}" for name, value in self.parameters.items()]
        return f"{self.function}:{','.join(words)}"


@dataclass(frozen=True)
class ResolvedStep:
    """An extra stage with the code and all values that a run uses; it can be pickled.

    Attributes
    ----------
    step : FunctionStep
        What was asked for.
    function : CustomFunction
        The code.
    values : mapping
        Value of every parameter of the function.
    """

    step: FunctionStep
    function: CustomFunction
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.function.name

    @property
    def digest(self) -> str:
        """Hash of the code, of all values and of the place in the pipeline."""
        content = [self.function.sha256, self.step.after, self.step.applies_to, dict(self.values)]
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def token(self) -> tuple[str, str]:
        """Name and the eight digits of the hash that file names bear."""
        return self.name, self.digest[:8]

    @property
    def title(self) -> str:
        """Function and values, as it is shown beside the names of stages."""
        values = ", ".join(f"{name}={value}" for name, value in self.values.items())
        return f"{self.name}({values}) on {self.step.applies_to}"

    @property
    def alters_noise(self) -> bool:
        """Whether the pixels that are subtracted, or the difference, are no longer as measured."""
        return self.step.after != 2

    def parameter_rows(self) -> list[dict[str, Any]]:
        """Return the values as rows of the table of all parameters."""
        return [
            {
                "stage": self.step.after,
                "parameter": f"+{self.name}.{parameter.name}",
                "value": self.values[parameter.name],
                "default": parameter.default,
                "source": (
                    self.step.source if parameter.name in self.step.parameters else "default"
                ),
                "overrides": None,
            }
            for parameter in self.function.parameters
        ]

    def describe(self) -> dict[str, Any]:
        """Return what records keep: everything that is needed to do it again."""
        return {
            "name": self.name,
            "hash": self.digest,
            "after": self.step.after,
            "applies_to": self.step.applies_to,
            "parameters": dict(self.values),
            "alters_noise": self.alters_noise,
            "sha256": self.function.sha256,
            "code": self.function.code,
        }


def resolve(step: FunctionStep, find: Callable[[str], CustomFunction]) -> ResolvedStep:
    """Return a step with the code of its function and the value of every parameter.

    Parameters
    ----------
    step : FunctionStep
        What is asked for.
    find : callable
        Returns a function by name, or raises the error that says which names are near.

    Raises
    ------
    ParameterError
        If the function is no function on images, has no such parameter, or a value does not fit.
    """
    function = find(step.function)
    if function.kind not in ("image", PLAIN):
        msg = f"{step.function} is a {function.kind}; an extra stage is a function on images"
        raise ParameterError(msg)
    defaults = {parameter.name: parameter.default for parameter in function.parameters}
    for name in step.parameters:
        if name not in defaults:
            msg = f"{step.function}: {unknown_name_message(name, defaults)}"
            raise ParameterError(msg)
    given = {n: _fitting(step, n, v, defaults[n]) for n, v in step.parameters.items()}
    return ResolvedStep(step, function, defaults | given)


def in_order(steps: Sequence[ResolvedStep]) -> tuple[ResolvedStep, ...]:
    """Return steps in the order in which they run: by stage, then as they were added."""
    return tuple(sorted(steps, key=lambda resolved: resolved.step.after))


def _fitting(step: FunctionStep, name: str, value: object, default: object) -> object:
    """Return a value in the type of its default; text, as command lines give it, is read."""
    kind = type(default)
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _WORDS[str(value).lower()]
        if kind in (int, float) and isinstance(value, int | float | str):
            exact = float(value)
            if not isinstance(value, bool) and np.isfinite(exact) and kind(exact) == exact:
                return kind(exact)
        elif kind is str and isinstance(value, str):
            return value
        elif kind not in (bool, int, float, str):
            return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, KeyError, OverflowError):
        pass
    msg = (
        f"{step.function}: {name} must be {_described(kind)} like its default {default!r}, "
        f"got {value!r}"
    )
    raise ParameterError(msg)


def _described(kind: type) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(kind, "a plain value")


def _whole_number(text: str) -> int:
    if not text.isdigit():
        msg = f"after must be a stage number, got {text!r}"
        raise ParameterError(msg)
    return int(text)
