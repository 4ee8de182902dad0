"""The brightness scales that a figure draws, in whichever form they were given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from exo2micro.errors import ParameterError
from exo2micro.plotting.figure import SERIES
from exo2micro.subtraction.scale import SCALE_ESTIMATORS, ScaleEstimate

ScaleLike: TypeAlias = ScaleEstimate | tuple[Any, ...]
"""An estimate, ``(label, scale)``, ``(label, scale, offset)`` or ``(label, scale, colour)``."""


@dataclass(frozen=True)
class ScaleLine:
    """One line ``post = scale * pre + offset``.

    Attributes
    ----------
    label : str
        What the scale is called.
    scale, offset : float
        Ratio, and counts.
    colour : str
        Matplotlib colour.
    """

    label: str
    scale: float
    offset: float
    colour: str

    @property
    def legend(self) -> str:
        """Text of the legend entry."""
        number = f"{self.label} {self.scale:#.4g}"
        if not self.offset:
            return number
        return f"{number}, offset {self.offset:.3g}".replace("-", "\N{MINUS SIGN}")


def scale_lines(
    scale: float | None = None, offset: float = 0.0, scales: Sequence[ScaleLike] = ()
) -> tuple[ScaleLine, ...]:
    """Return all scales that are to be drawn, the canonical one first.

    Parameters
    ----------
    scale, offset : float, optional
        A scale given as a number; comes first.
    scales : sequence
        `ScaleEstimate`, or tuples ``(label, scale)``, ``(label, scale, offset)``,
        ``(label, scale, colour)``.

    Raises
    ------
    ParameterError
        If one of them is none of those, or its scale is not a finite number > 0.
    """
    given: list[ScaleLike] = [] if scale is None else [("scale", scale, offset)]
    given.extend(scales)
    lines: list[ScaleLine] = []
    for item in given:
        used = {line.colour for line in lines}
        free = [colour for colour in (_own_colour(item), *SERIES) if colour and colour not in used]
        lines.append(_line(item, free[0] if free else SERIES[len(lines) % len(SERIES)]))
    return tuple(lines)


def _own_colour(item: ScaleLike) -> str:
    """Return the colour of the estimator that made a scale, empty where it has none."""
    if not isinstance(item, ScaleEstimate) or item.name not in SCALE_ESTIMATORS:
        return ""
    return SCALE_ESTIMATORS[item.name].colour


def _line(item: ScaleLike, colour: str) -> ScaleLine:
    if isinstance(item, ScaleEstimate):
        return _checked(item.label or item.name or "scale", item.scale, item.offset, colour)
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        msg = (
            "a scale is a ScaleEstimate, (label, scale), (label, scale, offset) or "
            f"(label, scale, colour), got {item!r}"
        )
        raise ParameterError(msg)
    third = item[2] if len(item) == 3 else 0.0
    if isinstance(third, str):
        return _checked(item[0], item[1], 0.0, third)
    return _checked(item[0], item[1], third, colour)


def _checked(label: Any, scale: Any, offset: Any, colour: str) -> ScaleLine:  # noqa: ANN401
    try:
        numbers = float(scale), float(offset)
    except (TypeError, ValueError):
        numbers = float("nan"), 0.0
    if not (np.isfinite(numbers).all() and numbers[0] > 0):
        msg = (
            f"scale {label!r} must be a finite number > 0 with a finite offset, got {scale!r} and "
            f"{offset!r}"
        )
        raise ParameterError(msg)
    return ScaleLine(str(label), *numbers, colour)
