"""Where the registration is not certified: far from certified tiles, or beside one that is off."""

from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask, Points
from exo2micro.verdict import Verdict

CELL_PX: Final = 64
"""Side of the cells of the map; tiles lie hundreds of pixels apart."""

REACH: Final = 2.5
"""A tile vouches for its surroundings up to this many typical distances between tiles."""

HULL_MARGIN: Final = 0.5
"""A smooth deformation is known this many typical distances beyond the outermost tiles: half a tile
is seen there, and what goes on from them may be pixels off a little further."""

OFF_SIGMAS: Final = 3.0
OFF_PX: Final = 0.5
"""A tile is off where its residual exceeds this and three of its errors."""

_HALF_RAYLEIGH: Final = 1.1774
_TAIL_RAYLEIGH: Final = 2.4477
"""Median and 95 % quantile of the length of a vector with unit Gaussian components."""


def registration_error(certificate: Mapping[str, Any] | None) -> tuple[float, Verdict]:
    """Return the standard error of an alignment along one axis, px, and how far it is known.

    The larger of what median and 95 % quantile of a certificate say. Where there were too few
    tiles for these, the upper limit (95 %) that the residuals of those tiles allow; without any,
    0, and the verdict says so.
    """
    figures = certificate or {}
    known = [
        figures[name] / unit
        for name, unit in (("median_px", _HALF_RAYLEIGH), ("p95_px", _TAIL_RAYLEIGH))
        if figures.get(name) is not None
    ]
    if known:
        return max(known), Verdict()
    residuals = np.asarray(figures.get("residuals", ()), np.float64)
    if not residuals.size:
        return 0.0, Verdict.check(
            "no tile tells the error of the registration: the error of the difference leaves it out"
        )
    from scipy import special

    limit = float(np.sqrt(np.sum(residuals**2) / special.chdtri(residuals.size, 0.95)))
    return limit, Verdict.check(
        f"only {len(residuals)} tiles tell the error of the registration: the largest that they "
        f"allow, {limit:.2f} px, was used"
    )


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
    is_deformed : bool
        The transform holds a smooth deformation, which is not known beyond the outermost tiles.
    """

    def __init__(
        self,
        positions: Points,
        residuals: Points,
        precisions: NDArray[np.float64],
        shape: tuple[int, int],
        *,
        is_deformed: bool = False,
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
        if is_deformed:
            self._cells |= _beyond(positions, HULL_MARGIN * apart, (ny, nx))

    def __call__(self, rows: slice, cols: slice) -> Mask:
        """Return the mask in a window."""
        y, x = (np.arange(part.start, part.stop) // CELL_PX for part in (rows, cols))
        cells = self._cells[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
        if not cells.any():
            return np.zeros((len(y), len(x)), np.bool_)
        mask: Mask = cells[:, x - x[0]][y - y[0]]
        return mask


def _beyond(positions: Points, margin: float, shape: tuple[int, int]) -> Mask:
    """Return the cells further than a margin outside the convex hull of positions."""
    hull = cv2.convexHull(np.asarray(positions // CELL_PX, np.int32))
    outside = cv2.fillConvexPoly(np.ones(shape, np.uint8), hull, 0)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    mask: Mask = away * CELL_PX > margin
    return mask
