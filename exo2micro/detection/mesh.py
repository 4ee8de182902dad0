"""Level and scatter of a difference around each place, on a mesh of cells.

A smooth residue of the background is no object: it is measured where microbes are not, and taken
away. The estimator is that of SExtractor (Bertin and Arnouts 1996, A&AS 117, 393).
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro._typing import FloatImage, Mask
from exo2micro.detection.difference import Difference
from exo2micro.errors import DetectionError
from exo2micro.raster.windows import block_mean, map_ordered, row_bands

CELL_PX: Final = 128
"""Side of a cell: many times a microbe, a fraction of a grain's illumination gradient."""

_BAND_PX: Final = 4 * CELL_PX
"""Rows read at once: as many as the tiles of compressed planes hold."""

_BLOCK_PX: Final = 3
"""Side of the blocks that are averaged first: the noise of images with few photons is skewed, which
the mode would take for microbes; that of averages is much less, and a microbe is no smaller."""

_LEAST_FRACTION: Final = 0.1
_CLIP_SIGMAS: Final = 3.0
_ROUNDS: Final = 6
_CROWDED: Final = 0.3
"""Distance of mean and median, in scatters, from which on the mode formula fails (SExtractor)."""

_MAD_TO_SIGMA: Final = 1.4826

_LARGEST: Final = 1e15
"""Scatter, or its inverse, of which squares and their sums fit into single precision."""


@dataclass(frozen=True)
class Mesh:
    """Level and scatter per cell, without gaps.

    Attributes
    ----------
    level, scatter : numpy.ndarray of float32
        Counts, shape ``(ceil(ny / CELL_PX), ceil(nx / CELL_PX))``; the scatter is that of a pixel
        whose noise is independent of its neighbours'.
    measured : numpy.ndarray of bool
        Cells that had enough data; the others took over their neighbours' values.
    """

    level: FloatImage
    scatter: FloatImage
    measured: Mask

    def level_at(self, rows: slice, cols: slice) -> FloatImage:
        """Return the level in a window, bilinear between the cells' centres."""
        return _interpolated(self.level, rows, cols)

    def scatter_at(self, rows: slice, cols: slice) -> FloatImage:
        """Return the scatter in a window, bilinear between the cells' centres."""
        return _interpolated(self.scatter, rows, cols)


def measure_mesh(difference: Difference, threads: int = 1) -> Mesh:
    """Measure level and scatter of a difference in one pass.

    Raises
    ------
    DetectionError
        If the difference has no data, or no scatter at all.
    """
    measure = partial(_measure_band, difference)
    bands = list(map_ordered(measure, row_bands(difference.shape[0], _BAND_PX), threads))
    level, scatter = (np.concatenate(part) for part in zip(*bands, strict=True))
    known = np.isfinite(level) & (scatter > 0)
    if not known.any():
        msg = (
            f"{difference.name} is empty: it has no pixels with data and known noise, or too few, "
            "or all are equal (in images of floating-point numbers a 0 is no data); look at the "
            "image, its planes DQ and ERR, and the verdict of the run"
        )
        raise DetectionError(msg)
    typical = float(np.median(scatter[known]))
    if not 1 / _LARGEST <= typical <= _LARGEST:
        msg = (
            f"the values of {difference.name} scatter by {typical:.3g}, which single precision "
            f"cannot square; multiply the image to bring it between {1 / _LARGEST:g} and "
            f"{_LARGEST:g}"
        )
        raise DetectionError(msg)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    level, scatter = (_smooth(values[tuple(nearest)]) for values in (level, scatter))
    return Mesh(level, scatter, known)


def _measure_band(difference: Difference, rows: slice) -> tuple[FloatImage, FloatImage]:
    """Return level and scatter of the cells of one band, each ``(n_rows, n_columns)``."""
    nx = difference.shape[1]
    pixels = difference.read(rows, slice(0, nx))
    cells = [
        [
            _measure_cell(pixels.data[lines, cols], pixels.has_data[lines, cols])
            for cols in row_bands(nx, CELL_PX)
        ]
        for lines in row_bands(rows.stop - rows.start, CELL_PX)
    ]
    level, scatter = np.moveaxis(np.array(cells, np.float32), -1, 0)
    return level, scatter


def _measure_cell(data: FloatImage, has_data: Mask) -> tuple[float, float]:
    """Return mode and scatter of a cell's pixels after clipping; NaN if there are too few."""
    values = _blocks(data)[_blocks(has_data) == 1]
    if values.size * _BLOCK_PX**2 < _LEAST_FRACTION * CELL_PX**2:
        return np.nan, np.nan
    middle, scatter = _middle_and_scatter(values)
    for _ in range(_ROUNDS):
        kept = values[np.abs(values - middle) <= _CLIP_SIGMAS * scatter]
        if kept.size == values.size or kept.size == 0:
            break
        values = kept
        middle, scatter = _middle_and_scatter(values)
    mean = float(values.mean(dtype=np.float64))
    if abs(mean - middle) < _CROWDED * scatter:
        middle = 2.5 * middle - 1.5 * mean
    return middle, _BLOCK_PX * scatter


def _blocks(image: FloatImage | Mask) -> FloatImage:
    """Return the means of the whole blocks that fit into a cell."""
    ny, nx = (size - size % _BLOCK_PX for size in image.shape)
    return block_mean(image[:ny, :nx], _BLOCK_PX)


def _middle_and_scatter(values: NDArray[np.float32]) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, _MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))


def _smooth(cells: FloatImage) -> FloatImage:
    """Return the mesh without single odd cells."""
    return np.asarray(ndimage.median_filter(cells, 3, mode="nearest"), np.float32)


def _interpolated(cells: FloatImage, rows: slice, cols: slice) -> FloatImage:
    """Return cells at the pixels of a window; each pixel's value depends on nothing but itself."""
    low_y, high_y, part_y = _neighbours(rows, cells.shape[0])
    low_x, high_x, part_x = _neighbours(cols, cells.shape[1])
    lines = cells[low_y] * (1 - part_y)[:, None] + cells[high_y] * part_y[:, None]
    return np.asarray(lines[:, low_x] * (1 - part_x) + lines[:, high_x] * part_x, np.float32)


def _neighbours(
    window: slice, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the cells before and after each pixel, and how far it is from the first."""
    place = (np.arange(window.start, window.stop) + 0.5) / CELL_PX - 0.5
    place = np.clip(place, 0, count - 1)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, count - 1), (place - low).astype(np.float32)
