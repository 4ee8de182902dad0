"""Synthetic microbes added to a raw image, with the noise that their light would have had."""

from math import ceil
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from exo2micro._typing import Image
from exo2micro.raster.base import Raster

_REACH_SIGMAS: Final = 4.5

_PIXEL_VARIANCE: Final = 1 / 12
"""By which pixels widen light, px^2: a source is spread over their areas."""


class InjectedRaster(Raster):
    """Another raster with Gaussian sources added.

    Each source brings its own shot noise. In images of integers a fraction of a count is rounded up
    or down by chance, so that faint light is neither lost nor gained.

    Parameters
    ----------
    source : Raster
        The raw image.
    x, y, flux : numpy.ndarray
        Centre (px) and total counts of each source, shape ``(n,)``.
    sigma_px : float
        Standard deviation of the light, that within a pixel (0.29 px) included.
    gain : float
        Shot-noise variance per count; 0 adds none.
    top : float or None
        Counts at which the image saturates; None if only its type bounds them.
    seed : int
        Equal seeds give equal noise.
    """

    def __init__(
        self,
        source: Raster,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        flux: NDArray[np.float64],
        *,
        sigma_px: float,
        gain: float,
        top: float | None,
        seed: int = 0,
    ) -> None:
        self.source = source
        self.shape = source.shape
        self.dtype = source.dtype
        largest = np.iinfo(self.dtype).max if self.dtype.kind in "ui" else np.inf
        self._top = largest if top is None else min(top, largest)
        self._half = ceil(_REACH_SIGMAS * sigma_px)
        self._row, self._col = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
        self._stamps = [
            self._stamp(px, py, counts, sigma_px, gain, np.random.default_rng((seed, number)))
            for number, (px, py, counts) in enumerate(zip(x, y, flux, strict=True))
        ]

    @property
    def extent(self) -> tuple[slice, slice]:
        """The extent of the image itself: sources lie within it."""
        return self.source.extent

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window with the sources."""
        window = self.source.read(rows, cols)
        near = (self._row + self._half >= rows.start) & (self._row - self._half < rows.stop)
        near &= (self._col + self._half >= cols.start) & (self._col - self._half < cols.stop)
        if not near.any():
            return window
        total = window.astype(np.float64)
        for number in np.flatnonzero(near).tolist():
            self._add(total, number, rows, cols)
        np.minimum(total, self._top, out=total)
        return total.astype(self.dtype)

    def _add(self, total: NDArray[np.float64], number: int, rows: slice, cols: slice) -> None:
        stamp, half = self._stamps[number], self._half
        y, x = int(self._row[number]) - half, int(self._col[number]) - half
        top, left = max(y, rows.start), max(x, cols.start)
        bottom = min(y + 2 * half + 1, rows.stop)
        right = min(x + 2 * half + 1, cols.stop)
        inner = (slice(top - y, bottom - y), slice(left - x, right - x))
        outer = (
            slice(top - rows.start, bottom - rows.start),
            slice(left - cols.start, right - cols.start),
        )
        total[outer] += stamp[inner]

    def _stamp(
        self,
        x: float,
        y: float,
        flux: float,
        sigma: float,
        gain: float,
        rng: np.random.Generator,
    ) -> NDArray[Any]:
        """Return the counts that one source adds, centred on its nearest pixel."""
        place = np.arange(-self._half, self._half + 1)
        optical = np.sqrt(sigma**2 - _PIXEL_VARIANCE)
        borders = np.append(place - 0.5, self._half + 0.5)
        across, down = (
            np.diff(special.ndtr((borders - (centre - np.rint(centre))) / optical))
            for centre in (x, y)
        )
        light = flux * down[:, None] * across
        if gain > 0:
            light = gain * rng.poisson(light / gain)
        if self.dtype.kind in "ui":
            light = np.floor(light + rng.random(light.shape))
        return np.asarray(light, np.float64)
