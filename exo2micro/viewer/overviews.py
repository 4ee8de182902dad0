"""Overviews of images whose files hold none, made while people look and kept within bounds."""

import threading
from collections.abc import Callable
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.raster.base import Raster
from exo2micro.raster.stream import TILE
from exo2micro.raster.windows import block_mean

STEP: Final = 16
"""What is kept of a slide of a gigapixel is 15 MB; finer overviews are made from few tiles."""

_LOCKS: Final = 64

Reduce = Callable[[Image, int], NDArray[Any]]


def any_flag(window: Image, factor: int) -> NDArray[Any]:
    """Return the bits that any pixel of each block of ``factor`` x ``factor`` pixels has."""
    padded = np.pad(window, [(0, -size % factor) for size in window.shape])
    rows = reduce(np.bitwise_or, (padded[start::factor] for start in range(factor)))
    flags: NDArray[Any] = reduce(np.bitwise_or, (rows[:, start::factor] for start in range(factor)))
    return flags


class KeptOverview:
    """Reduced windows of a raster that has no stored overviews.

    Parameters
    ----------
    raster : Raster
        The image.
    combine : callable, optional
        ``combine(window, factor)`` makes one value of each block; by default its mean.
    """

    def __init__(self, raster: Raster, combine: Reduce = block_mean) -> None:
        self._raster = raster
        self._combine = combine
        shape = tuple(-(-size // STEP) for size in raster.shape)
        dtype = np.float32 if combine is block_mean else raster.dtype
        self._values = np.zeros(shape, dtype)
        self._known = np.zeros([-(-size // TILE) for size in raster.shape], np.bool_)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def read_reduced(self, rows: slice, cols: slice, factor: int) -> NDArray[Any]:
        """Return a window of the overview; `factor` is a power of two.

        Safe to call from several threads at once; no tile is read twice for it.
        """
        if factor < STEP:
            window = (
                slice(part.start * factor, min(part.stop * factor, size))
                for part, size in zip((rows, cols), self._raster.shape, strict=True)
            )
            return self._combine(self._raster.read(*window), factor)
        rest = factor // STEP
        kept_rows, kept_cols = (
            slice(part.start * rest, min(part.stop * rest, size))
            for part, size in zip((rows, cols), self._values.shape, strict=True)
        )
        self._fill(kept_rows, kept_cols)
        return self._combine(self._values[kept_rows, kept_cols], rest)

    def _fill(self, rows: slice, cols: slice) -> None:
        """Reduce the tiles that a window of what is kept meets."""
        side = TILE // STEP
        for row in range(rows.start // side, -(-rows.stop // side)):
            for col in range(cols.start // side, -(-cols.stop // side)):
                with self._locks[(7 * row + col) % _LOCKS]:
                    if not self._known[row, col]:
                        self._fill_tile(row, col)

    def _fill_tile(self, row: int, col: int) -> None:
        window = (
            slice(start * TILE, min((start + 1) * TILE, size))
            for start, size in zip((row, col), self._raster.shape, strict=True)
        )
        reduced = self._combine(self._raster.read(*window), STEP)
        top, left = row * TILE // STEP, col * TILE // STEP
        self._values[top : top + reduced.shape[0], left : left + reduced.shape[1]] = reduced
        self._known[row, col] = True
