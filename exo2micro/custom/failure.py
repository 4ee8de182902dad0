"""The words for an error in a user's own code: which function, which line, what it says."""

from exo2micro.custom.function import CustomFunction, snippet


def failure(function: CustomFunction, error: Exception) -> str:
    """Return ``denoise failed in line 4, `x = 1 / 0`: ZeroDivisionError: ...``."""
    line = function.line_of(error) or function.line_number
    code = snippet(function.code, line)
    return f"{function.name} failed in line {line}, `{code}`: {type(error).__name__}: {error}"
