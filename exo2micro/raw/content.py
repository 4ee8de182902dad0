"""Is the image usable at all: size, blankness, saturation, finite numbers."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.errors import ImageContentError
from exo2micro.raster import Raster
from exo2micro.raster.windows import row_bands
from exo2micro.raw.figures import SATURATED_FRACTION, sample_windows

MIN_SIDE_PX = 64
"""Below this there are too few tiles to fit an alignment and to certify it."""

_SCAN_ROWS = 256


def check_content(raster: Raster, path: str | Path, saturation_level: float | None = None) -> None:
    """Refuse an image that no registration can use.

    Windows spread over the image are looked at. Only where they suggest that it is blank or
    saturated is the whole image read, until a pixel says otherwise.

    Parameters
    ----------
    raster : Raster
        One channel, shape ``(ny, nx)``.
    path : str or Path
        Where it comes from, for the message.
    saturation_level : float, optional
        Highest value that a pixel can hold; by default that of the integer type.

    Raises
    ------
    ImageContentError
        If a side is shorter than 64 px, all pixels have one value, 99 % of them or more are
        saturated, or one that is looked at is NaN or infinite. The message names the file, the
        value, the likely cause and the next action.
    """
    check_size(raster.shape, path)
    if saturation_level is None:
        level = raster.saturates_at
        saturation_level = float("inf") if level is None else level
    sample = _Extent(saturation_level)
    for rows, cols in sample_windows(raster.shape):
        sample.add(raster.read(rows, cols))
    sample.raise_if_not_finite(path)
    if sample.is_suspicious:
        _scan_whole(raster, path, saturation_level)


def check_size(shape: tuple[int, int], path: str | Path) -> None:
    """Raise ImageContentError if a side is shorter than `MIN_SIDE_PX`."""
    ny, nx = shape
    if min(ny, nx) < MIN_SIDE_PX:
        msg = (
            f"{path} is {ny} x {nx} px (ny x nx), smaller than {MIN_SIDE_PX} px on a side; "
            "is it a thumbnail? Use the full-resolution scan"
        )
        raise ImageContentError(msg)


def _scan_whole(raster: Raster, path: str | Path, saturation_level: float) -> None:
    """Raise if the whole image is of one value or saturated."""
    extent = _Extent(saturation_level)
    for rows in row_bands(raster.shape[0], _SCAN_ROWS):
        extent.add(raster.read(rows, slice(0, raster.shape[1])))
    extent.raise_if_not_finite(path)
    if extent.saturated_fraction >= SATURATED_FRACTION:
        msg = (
            f"{path} is saturated: {100 * extent.saturated_fraction:.4g} % of its pixels have the "
            f"highest value {saturation_level:g}; scan again with a shorter exposure"
        )
        raise ImageContentError(msg)
    if extent.minimum == extent.maximum:
        msg = (
            f"{path} is blank: every pixel is {extent.minimum:g}; the shutter or lamp was off, or "
            "the wrong channel or page was exported; export again or choose another with channel= "
            "or page="
        )
        raise ImageContentError(msg)


class _Extent:
    """Lowest and highest value, saturated and non-finite pixels of what was looked at."""

    def __init__(self, saturation_level: float) -> None:
        self._level = saturation_level
        self.minimum, self.maximum = np.inf, -np.inf
        self._n_pixels = self._n_saturated = self._n_not_finite = 0

    def add(self, pixels: NDArray[Any]) -> None:
        """Take in one window."""
        self._n_pixels += pixels.size
        if pixels.dtype.kind == "f":
            finite = pixels[np.isfinite(pixels)]
            self._n_not_finite += pixels.size - finite.size
            pixels = finite
        if pixels.size:
            self.minimum = min(self.minimum, float(pixels.min()))
            self.maximum = max(self.maximum, float(pixels.max()))
            self._n_saturated += int(np.count_nonzero(pixels >= self._level))

    @property
    def saturated_fraction(self) -> float:
        """Share of pixels at the highest value that the type can hold."""
        return self._n_saturated / self._n_pixels

    @property
    def is_suspicious(self) -> bool:
        """Whether the whole image may be blank or saturated."""
        return self.minimum == self.maximum or self.saturated_fraction >= SATURATED_FRACTION

    def raise_if_not_finite(self, path: str | Path) -> None:
        """Raise ImageContentError if a pixel is NaN or infinite."""
        if self._n_not_finite:
            msg = (
                f"{path} holds {self._n_not_finite} pixels that are NaN or infinite among the "
                f"{self._n_pixels} looked at; raw scans must be finite: export the image again "
                "without masking or scaling"
            )
            raise ImageContentError(msg)
