"""By what factor a resampling changes the variance of white noise, pixel by pixel."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.raster.windows import row_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODE_PX: Final = 16
"""Distance between the nodes at which coordinates are computed. They are straight between them,
which keeps phases within 0.05 px under any field that a pair may have, and 0.001 px otherwise."""

STRIP_NODES: Final = 4
"""Rows of cells between nodes that are worked on at a time: their arrays stay in the caches."""

Coordinates = Callable[
    [int, int, int, int, int], tuple["NDArray[np.float64]", "NDArray[np.float64]"]
]
"""``(top, left, height, width, step) -> (x, y)`` of every `step`-th pixel, by number of nodes."""


def noise_factor(
    coordinates: Coordinates, rows: slice, cols: slice, polynomial: tuple[float, ...]
) -> FloatImage:
    """Return the factor in a window: that of the phase along x times that of the phase along y.

    Parameters
    ----------
    coordinates : callable
        Where nodes lie in the source, px.
    rows, cols : slice
        The window.
    polynomial : tuple of float
        Four coefficients of the factor in ``u = phase * (1 - phase)``, lowest power first.
    """
    factor = np.empty((rows.stop - rows.start, cols.stop - cols.start), np.float32)
    left = cols.start // NODE_PX * NODE_PX
    nx = (cols.stop - 1 - left) // NODE_PX + 2
    top = rows.start // NODE_PX * NODE_PX
    for strip in row_bands(rows.stop - top, STRIP_NODES * NODE_PX):
        ny = (strip.stop - strip.start - 1) // NODE_PX + 2
        nodes_x, nodes_y = coordinates(top + strip.start, left, ny, nx, NODE_PX)
        start = max(rows.start, top + strip.start)
        part = factor[start - rows.start : top + strip.stop - rows.start]
        seen = (
            slice(start - top - strip.start, strip.stop - strip.start),
            slice(cols.start - left, cols.stop - left),
        )
        part[...] = _phase_factor(_phases(nodes_x), polynomial)[seen]
        part *= _phase_factor(_phases(nodes_y), polynomial)[seen]
    return factor


def _phases(nodes: "NDArray[np.float64]") -> FloatImage:
    """Return the distance of each pixel between nodes from the pixel of the source before it."""
    start = np.floor(nodes[:-1, :-1])
    (left, right), (below_left, below_right) = (
        ((row[:, :-1] - start).astype(np.float32), (row[:, 1:] - start).astype(np.float32))
        for row in (nodes[:-1], nodes[1:])
    )
    share = np.arange(NODE_PX, dtype=np.float32) / np.float32(NODE_PX)
    above = left[..., None] + (right - left)[..., None] * share
    below = below_left[..., None] + (below_right - below_left)[..., None] * share
    ny, nx = start.shape
    above, below = above.reshape(ny, 1, -1), below.reshape(ny, 1, -1)
    phases: FloatImage = (below - above) * share[:, None]
    phases += above
    phases -= np.floor(phases)
    return phases.reshape(ny * NODE_PX, nx * NODE_PX)


def _phase_factor(phase: FloatImage, polynomial: tuple[float, ...]) -> FloatImage:
    """Return the factor along one axis, by its exact polynomial."""
    at_pixels, first, second, third = (np.float32(c) for c in polynomial)
    u = phase * phase
    np.subtract(phase, u, out=u)
    factor: FloatImage = np.multiply(u, third, out=phase)
    factor += second
    factor *= u
    factor += first
    factor *= u
    factor += at_pixels
    return factor
