"""Numbers as people read them."""

from typing import Any


def number(value: float | None, unit: str = "", digits: int = 4) -> str:
    """Return a number with its unit; words where there is none."""
    if value is None or value != value:
        return "not measured"
    text = f"{value:.{digits}g}"
    return f"{text} {unit}" if unit else text


def interval(bounds: Any, unit: str = "", digits: int = 4) -> str:  # noqa: ANN401
    """Return ``low to high`` with the unit; empty where there is none or it has no width."""
    if not bounds or bounds[0] is None or bounds[0] == bounds[1]:
        return ""
    low, high = (f"{bound:#.{digits}g}".rstrip(".") for bound in bounds)
    return f"{low} to {high}{' ' + unit if unit else ''}"


def bytes_text(count: int) -> str:
    """Return bytes in MB."""
    return f"{count / 1e6:.0f} MB"


def value_text(value: object) -> str:
    """Return a parameter's value; None is ``off``."""
    if value is None:
        return "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
