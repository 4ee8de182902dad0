"""Numbers and names as people read them."""

from collections.abc import Mapping
from typing import Any, Final

Z_95: Final = 1.96

_ESTIMATORS: Final = {
    "moffat": "a Moffat profile fitted to the local ratios",
    "least_squares": "least squares through the origin",
    "robust_regression": "a robust regression line",
    "manual": "hand",
}


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


def offset_interval(scale: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % interval of the offset of a scale; None where it has no error."""
    error = scale.get("metrics", {}).get("offset_error")
    if error is None or scale["offset"] == 0:
        return None
    return scale["offset"] - Z_95 * error, scale["offset"] + Z_95 * error


def estimator_words(scale: Mapping[str, Any]) -> str:
    """Return how a scale was estimated, so that ``by`` can stand before it."""
    name = str(scale["name"])
    if name == "percentile":
        percentile = str(scale["label"]).rpartition("_p")[2]
        return f"the percentile {percentile} of the local ratios"
    return _ESTIMATORS.get(name, f"the estimator {name}")


def area_unit(unit: str) -> str:
    """Return the unit of a density of objects."""
    return "per mm\N{SUPERSCRIPT TWO}" if unit == "mm-2" else "per million px"


def bytes_text(count: int) -> str:
    """Return bytes in MB."""
    return f"{count / 1e6:.0f} MB"


def value_text(value: object) -> str:
    """Return a parameter's value; None is ``off``."""
    if value is None:
        return "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
