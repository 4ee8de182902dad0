"""Checks of a custom function's source, from the cheap ones to a trial run.

They guard against accidents and careless code, not against an attacker.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from exo2micro.custom.declaration import Source, read_source
from exo2micro.custom.function import CustomFunction
from exo2micro.custom.rules import broken_rules
from exo2micro.custom.signature import broken_declarations
from exo2micro.custom.undefined import undefined_names
from exo2micro.errors import ValidationError

MAX_LENGTH: Final = 1_000_000
"""Characters of a source; a longer one is data, not code."""

TryFunction = Callable[[CustomFunction], list[str]]
"""Runs a function and returns warnings, or raises a `ValidationError`."""


@dataclass(frozen=True)
class ValidationResult:
    """What the checks found.

    Attributes
    ----------
    is_valid : bool
        Whether the source can be registered.
    errors : tuple of ValidationError
        Each with its line and that line's text; from the first stage that found any.
    warnings : tuple of str
        What works but may not be meant.
    function_names : tuple of str
        Names of the decorated functions, in the order of the source.
    functions : tuple of CustomFunction
        The functions; empty if the source is not valid.
    """

    is_valid: bool
    errors: tuple[ValidationError, ...] = ()
    warnings: tuple[str, ...] = ()
    function_names: tuple[str, ...] = ()
    functions: tuple[CustomFunction, ...] = field(default=(), repr=False)

    def raise_for_errors(self) -> None:
        """Raise the first error; the others stand in its notes."""
        if self.errors:
            first, *others = self.errors
            for other in others:
                first.add_note(str(other))
            raise first


def validate_code(
    code: str, *, strict: bool = False, run_isolated: bool = False
) -> ValidationResult:
    """Check a source in all stages; a stage is reached only if the ones before it found no error.

    The stages: syntax; imports and dynamic access; decorator and signature; a trial run of every
    function on a small synthetic pair, which executes the source.

    Parameters
    ----------
    code : str
        The source.
    strict : bool
        Ask that functions on images are annotated.
    run_isolated : bool
        Execute the source in a process of its own, with limits of time and memory.

    Returns
    -------
    ValidationResult
        Errors and warnings with their lines.
    """
    try:
        source = _parsed(code)
    except ValidationError as error:
        return ValidationResult(is_valid=False, errors=(error,))
    names = tuple(source.decorated)
    stages = (broken_rules(source), broken_declarations(source, strict=strict))
    for stage in stages:
        errors = tuple(sorted(stage, key=lambda e: e.line_number))
        if errors:
            return ValidationResult(is_valid=False, errors=errors, function_names=names)
    functions = tuple(d.as_function() for d in source.decorated.values())
    warnings = [
        f"line {line}: the name {name!r} is defined nowhere"
        for name, line in undefined_names(source)
    ]
    errors, remarks = _tried(functions, _isolated_trial if run_isolated else validate_function)
    return ValidationResult(
        is_valid=not errors,
        errors=errors,
        warnings=(*warnings, *remarks),
        function_names=names,
        functions=() if errors else functions,
    )


def validate_syntax(code: str) -> ast.Module:
    """Return the syntax tree of a source.

    Raises
    ------
    ValidationError
        If it is no Python.
    """
    return _parsed(code).tree


def validate_imports(code: str) -> None:
    """Check imports and dynamic access.

    Raises
    ------
    ValidationError
        For the first import or access that is refused.
    """
    _raise_first(broken_rules(_parsed(code)))


def validate_decorator(code: str, *, strict: bool = False) -> tuple[str, ...]:
    """Check decorators and signatures by the functions' kinds.

    Parameters
    ----------
    code : str
        The source.
    strict : bool
        Ask that functions on images are annotated.

    Returns
    -------
    tuple of str
        Names of the decorated functions.

    Raises
    ------
    ValidationError
        For the first rule that is broken.
    """
    source = _parsed(code)
    _raise_first(broken_declarations(source, strict=strict))
    return tuple(source.decorated)


def validate_function(function: CustomFunction) -> list[str]:
    """Load a function, run it on a small synthetic pair, and return warnings.

    Raises
    ------
    ValidationError
        If it fails, returns what its kind does not allow, or changes its input.
    """
    from exo2micro.custom.trial import try_function

    return try_function(function)


def _isolated_trial(function: CustomFunction) -> list[str]:
    from exo2micro.custom.isolation import try_isolated

    return try_isolated(function)


def _tried(
    functions: Iterable[CustomFunction], try_function: TryFunction
) -> tuple[tuple[ValidationError, ...], list[str]]:
    errors, remarks = [], []
    for function in functions:
        try:
            remarks += try_function(function)
        except ValidationError as error:
            errors.append(error)
    return tuple(errors), remarks


def _parsed(code: str) -> Source:
    if len(code) > MAX_LENGTH:
        message = f"the source has {len(code)} characters, {MAX_LENGTH} at most are taken"
        raise ValidationError(message, 1, "")
    return read_source(code)


def _raise_first(errors: Iterator[ValidationError]) -> None:
    found = min(errors, key=lambda e: e.line_number, default=None)
    if found is not None:
        raise found
