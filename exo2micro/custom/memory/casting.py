"""Changing the type of pixels: only when asked, rounded, clipped and reported."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from exo2micro._typing import Image
from exo2micro.errors import MemoryTypeError

SAME = "input"
"""As a wanted type: that of the image which the function was given."""


@dataclass(frozen=True)
class CastReport:
    """What a cast did to the values.

    Attributes
    ----------
    before, after : str
        Types.
    rounded, clipped : int
        Pixels whose value was rounded, and those that lay outside the range of the new type.
    """

    before: str
    after: str
    rounded: int = 0
    clipped: int = 0

    def __str__(self) -> str:
        return (
            f"cast from {self.before} to {self.after}: {self.rounded} pixels rounded, "
            f"{self.clipped} clipped"
        )


def cast(array: Image, dtype: "str | np.dtype[Any]") -> tuple[Image, CastReport]:
    """Return an array in another type: rounded to whole numbers and clipped where it must be.

    Values are never rescaled.

    Parameters
    ----------
    array : numpy.ndarray
        Any shape.
    dtype : dtype
        The type wanted.

    Raises
    ------
    MemoryTypeError
        For a type that is no number, or NaN and infinity where whole numbers are wanted.
    """
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = np.dtype(object)
    if wanted.kind not in "uif":
        msg = f"dtype must be a type of real numbers such as 'uint16' or 'float32', got {dtype!r}"
        raise MemoryTypeError(msg)
    before, after = array.dtype.name, wanted.name
    if array.dtype == wanted:
        return array, CastReport(before, after)
    if wanted.kind == "f":
        return _to_float(array, wanted)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = f"{before} values that are NaN or infinite cannot be cast to {after}"
        raise MemoryTypeError(msg)
    low, high = _limits(wanted, array.dtype)
    whole = np.rint(array.astype(np.float64)) if array.dtype.kind == "f" else array
    rounded = int(np.count_nonzero(whole != array))
    clipped = int(np.count_nonzero((whole < low) | (whole > high)))
    values = np.clip(whole, low, high) if clipped else whole
    return values.astype(wanted), CastReport(before, after, rounded, clipped)


def _to_float(array: Image, wanted: "np.dtype[Any]") -> tuple[Image, CastReport]:
    """Return an array as floats of fewer or more digits; what is too large becomes the largest."""
    largest = np.finfo(wanted).max
    too_large = np.isfinite(array) & (np.abs(array.astype(np.float64)) > float(largest))
    clipped = int(np.count_nonzero(too_large))
    fitting = np.clip(array, -largest, largest) if clipped else array
    values = fitting.astype(wanted)
    rounded = int(np.count_nonzero((values != fitting) & ~np.isnan(values)))
    return values, CastReport(array.dtype.name, wanted.name, rounded, clipped)


def _limits(wanted: "np.dtype[Any]", given: "np.dtype[Any]") -> tuple[float, float]:
    """Return the range of a type of whole numbers; as floats, the largest ones that lie inside."""
    limits = np.iinfo(wanted)
    if given.kind != "f" or float(limits.max) <= limits.max:
        return limits.min, limits.max
    return float(limits.min), float(np.nextafter(float(limits.max), 0.0))
