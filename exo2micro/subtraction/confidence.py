"""Where the registration is not certified: far from certified tiles, or beside one that is off."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points

CELL_PX: Final = 64
"""Side of the cells of the map; tiles lie hundreds of pixels apart."""

REACH: Final = 2.5
"""A tile vouches for its surroundings up to this many typical distances between tiles."""

OFF_SIGMAS: Final = 3.0
OFF_PX: Final = 0.5
"""A tile is off where its residual exceeds this and three of its errors."""

_HALF_RAYLEIGH: Final = 1.1774
_TAIL_RAYLEIGH: Final = 2.4477
"""Median and 95 % quantile of the length of a vector with unit Gaussian components."""


def registration_error(certificate: Mapping[str, Any] | None) -> float:
    """Return the standard error of a certified alignment along one axis, px.

    The larger of what median and 95 % quantile say; what was not measured does not count.
    """
    if certificate is None:
        return 0.0
    figures = ((certificate["median_px"], _HALF_RAYLEIGH), (certificate["p95_px"], _TAIL_RAYLEIGH))
    return max((value / unit for value, unit in figures if value is not None), default=0.0)


class LowConfidence:
    """The parts of a canvas where structures may be ghosts of misalignment.

    Parameters
    ----------
    positions, residuals : numpy.ndarray
        Certified tiles on the canvas and their residuals, ``(x, y)``, shape ``(n, 2)``, pixels.
    precisions : numpy.ndarray
        Errors of the residuals, shape ``(n,)``, pixels.
    shape : tuple of int
        Canvas ``(ny, nx)``.
    """

    def __init__(
        self,
        positions: Points,
        residuals: Points,
        precisions: NDArray[np.float64],
        shape: tuple[int, int],
    ) -> None:
        ny, nx = (-(-size // CELL_PX) for size in shape)
        self._cells = np.ones((ny, nx), np.bool_)
        if len(positions) == 0:
            return
        from scipy.spatial import KDTree

        tree = KDTree(positions)
        neighbours, _ = tree.query(positions, k=[2])
        apart = float(np.median(neighbours)) if len(positions) > 1 else 0.0
        reach = REACH * max(apart, CELL_PX)
        y, x = (np.arange(n) * CELL_PX + (CELL_PX - 1) / 2 for n in (ny, nx))
        centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        distances, nearest = tree.query(centres)
        size = np.hypot(residuals[:, 0], residuals[:, 1])
        is_off = size > OFF_PX + OFF_SIGMAS * precisions
        self._cells = ((np.asarray(distances) > reach) | is_off[nearest]).reshape(ny, nx)

    def __call__(self, rows: slice, cols: slice) -> Mask:
        """Return the mask in a window."""
        y, x = (np.arange(part.start, part.stop) // CELL_PX for part in (rows, cols))
        cells = self._cells[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
        if not cells.any():
            return np.zeros((len(y), len(x)), np.bool_)
        mask: Mask = cells[:, x - x[0]][y - y[0]]
        return mask
