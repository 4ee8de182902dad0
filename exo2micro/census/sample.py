"""Where the sample lies on the canvas: only there microbes are counted and sources injected."""

from math import ceil
from typing import Final

import numpy as np

from exo2micro._typing import Mask, Points
from exo2micro.alignment.outline import sample_mask
from exo2micro.raster.base import OffsetRaster, Raster

_OVERVIEW_PX: Final = 1000
"""Longest side of the overview on which the outline is found."""


class SampleRegion(Raster):
    """True where the post-stain image shows the sample, to the pixel of an overview.

    Parameters
    ----------
    post : Raster
        Post-stain image on the canvas.
    window : tuple of slice
        Rows and columns of the canvas that it covers.
    """

    def __init__(self, post: Raster, window: tuple[slice, slice]) -> None:
        rows, cols = window
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        self.shape = post.shape
        self.dtype = np.dtype(np.bool_)
        self._start = rows.start, cols.start
        self._factor = max(1, ceil(max(shape) / _OVERVIEW_PX))
        raw = OffsetRaster(post, shape, (-rows.start, -cols.start))
        self._mask = sample_mask(raw.overview(self._factor))

    def read(self, rows: slice, cols: slice) -> Mask:
        """Return the window."""
        row, inside_rows = self._cells(np.arange(rows.start, rows.stop), 0)
        col, inside_cols = self._cells(np.arange(cols.start, cols.stop), 1)
        inside: Mask = inside_rows[:, None] & inside_cols
        return np.asarray(inside & self._mask[np.ix_(row, col)])

    def contains(self, points: Points) -> Mask:
        """Return which points ``(x, y)`` lie on the sample."""
        col, inside_cols = self._cells(points[:, 0], 1)
        row, inside_rows = self._cells(points[:, 1], 0)
        inside: Mask = inside_rows & inside_cols
        return np.asarray(inside & self._mask[row, col])

    def _cells(self, places: Points, axis: int) -> tuple[Points, Mask]:
        """Return the overview pixels of places along an axis, and which of them exist."""
        cells = np.floor((places - self._start[axis]) / self._factor).astype(np.intp)
        last = self._mask.shape[axis] - 1
        return np.clip(cells, 0, last), (cells >= 0) & (cells <= last)
