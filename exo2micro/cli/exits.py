"""Exit codes that scripts can rely on."""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from exo2micro.errors import FailedVerdictError, ParameterError


class ExitCode(IntEnum):
    """What the command line tells the shell."""

    PASS = 0
    """Done; the result can be trusted."""
    ERROR = 1
    """Something went wrong; there is no new result."""
    USAGE = 2
    """The command was not understood or a value is not allowed."""
    CHECK = 3
    """Done, but a person should look at the result."""
    FAIL = 4
    """The result cannot be trusted and was withheld."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


BATCH_SEVERITY = (ExitCode.PASS, ExitCode.CHECK, ExitCode.FAIL, ExitCode.ERROR)
"""From harmless to grave: a batch exits with the gravest code of its pairs."""


def exit_code_of(result: Mapping[str, Any]) -> ExitCode:
    """Return the exit code for one pair's result."""
    if str(result["status"]).startswith(("error", "skipped")):
        return ExitCode.ERROR
    return {"CHECK": ExitCode.CHECK, "FAIL": ExitCode.FAIL}.get(
        str(result["verdict"]), ExitCode.PASS
    )


def exit_code_of_batch(results: Iterable[Mapping[str, Any]]) -> ExitCode:
    """Return the gravest exit code of all pairs."""
    return max((exit_code_of(r) for r in results), key=BATCH_SEVERITY.index, default=ExitCode.PASS)


def exit_code_of_error(error: Exception) -> ExitCode:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, FailedVerdictError):
        return ExitCode.FAIL
    return ExitCode.USAGE if isinstance(error, ParameterError) else ExitCode.ERROR
