"""Places for synthetic sources: spread over the sample, away from its objects and each other."""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Points
from exo2micro.census.sample import SampleRegion
from exo2micro.detection import Difference
from exo2micro.raster.windows import row_bands

_BAND: Final = 512
_JITTER: Final = 1 / 8
"""Part of a grid step by which a place is moved at most along each axis."""

_CLEAR_PX: Final = 8
"""Pixels around a place that must be good: the reach of a source and of the filter's core."""


def spread_places(
    difference: Difference,
    sample: SampleRegion,
    objects: Mapping[str, NDArray[Any]],
    spacing_px: float,
    seed: int,
    most: int,
) -> tuple[Points, float]:
    """Return places in random order, and the median noise of a pixel there.

    Parameters
    ----------
    difference : Difference
        Tells where data are good.
    sample : SampleRegion
        Tells where the sample is.
    objects : mapping
        Columns ``x, y, semi_major_px`` of the slide's own objects.
    spacing_px : float
        Least distance of two places along each axis.
    seed : int
        Equal seeds give equal places.
    most : int
        Places at most; where there is room for more, they are chosen at random.

    Returns
    -------
    places : numpy.ndarray
        Shape ``(n, 2)``, ``(x, y)``, n at most `most`.
    noise : float
        Counts.
    """
    rng = np.random.default_rng(seed)
    kept: list[Points] = []
    errors: list[NDArray[np.float32]] = []
    for rows in row_bands(difference.shape[0], _BAND):
        grid = _jittered(rows, difference.shape[1], spacing_px, rng)
        grid = grid[sample.contains(grid)]
        if len(grid) == 0:
            continue
        grid, error = _good(difference, rows, grid)
        kept.append(grid)
        errors.append(error)
    if not kept:
        return np.empty((0, 2)), 0.0
    places, noise = np.concatenate(kept), np.concatenate(errors)
    free = _away_from(objects, places, spacing_px / 2)
    order = rng.permutation(np.flatnonzero(free))[:most]
    if order.size == 0:
        return np.empty((0, 2)), 0.0
    return places[order], float(np.median(noise[order]))


def _jittered(rows: slice, nx: int, spacing: float, rng: np.random.Generator) -> Points:
    """Return points of a grid, each moved at random, never nearer than `spacing`."""
    step = spacing / (1 - 2 * _JITTER)
    y, x = np.meshgrid(
        np.arange(rows.start + step / 2, rows.stop - step / 4, step),
        np.arange(step / 2, nx - step / 4, step),
        indexing="ij",
    )
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    points += rng.uniform(-_JITTER * step, _JITTER * step, points.shape)
    return points


def _good(
    difference: Difference, rows: slice, points: Points
) -> tuple[Points, NDArray[np.float32]]:
    """Return the points of a band around which data are good, and the noise at each."""
    pixels = difference.read(rows, slice(0, difference.shape[1]))
    good = (pixels.has_data & (pixels.flags == 0)).astype(np.uint8)
    side = 2 * _CLEAR_PX + 1
    clear = cv2.erode(good, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT)
    col, row = np.rint(points).astype(int).T
    inside = (row < rows.stop) & (col < difference.shape[1])
    points, row, col = points[inside], row[inside] - rows.start, col[inside]
    chosen = clear[row, col] > 0
    if pixels.noise is None:
        known = pixels.data[pixels.has_data]
        scatter = 1.4826 * float(np.median(np.abs(known))) if known.size else 0.0
        return points[chosen], np.full(int(chosen.sum()), scatter, np.float32)
    return points[chosen], pixels.noise[row, col][chosen]


def _away_from(
    objects: Mapping[str, NDArray[Any]], places: Points, reach: float
) -> NDArray[np.bool_]:
    """Return which places are at least `reach` from the edge of every object."""
    from scipy.spatial import cKDTree

    if len(objects["x"]) == 0:
        return np.ones(len(places), np.bool_)
    tree = cKDTree(np.stack([objects["x"], objects["y"]], axis=1))
    neighbours = min(4, len(objects["x"]))
    distance, which = (
        np.asarray(part).reshape(len(places), -1) for part in tree.query(places, k=neighbours)
    )
    edges = distance - 2 * objects["semi_major_px"][which]
    return np.asarray((edges > reach).all(axis=1))
