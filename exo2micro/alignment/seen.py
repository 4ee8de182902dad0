"""SeenPre: pre on the grid of post, as far as tiles need it."""

import numpy as np

from exo2micro._typing import FloatImage, Mask, Points
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import Raster

# Beyond this many pixels, tiles are resampled one by one, so that memory stays bounded.
LARGEST_WHOLE = 4_000_000


class SeenPre:
    """Squares of pre seen through a transform; resampled at once where the squares overlap much.

    Parameters
    ----------
    pre : Raster
        The image.
    transform : Transform
        Post to pre.
    centres : numpy.ndarray
        Whole pixels of post around which squares will be asked for, shape ``(n, 2)``.
    reach : int
        Half the side of the squares.
    """

    def __init__(self, pre: Raster, transform: Transform, centres: Points, reach: int) -> None:
        self._pre = pre
        self._transform = transform
        self._reach = reach
        self._whole: tuple[FloatImage, Mask] | None = None
        self._left, self._top = (0, 0)
        if len(centres) == 0:
            return
        self._left, self._top = (int(v) for v in centres.min(axis=0) - reach)
        width, height = (int(v) for v in np.ptp(centres, axis=0) + 2 * reach)
        if width * height <= min(LARGEST_WHOLE, len(centres) * (2 * reach) ** 2):
            self._whole = self._resampled(self._left, self._top, width, height)

    def around(self, x: int, y: int) -> tuple[FloatImage, Mask]:
        """Return the square around a pixel of post, and where it is valid."""
        left, top, side = x - self._reach, y - self._reach, 2 * self._reach
        if self._whole is None:
            return self._resampled(left, top, side, side)
        rows = slice(top - self._top, top - self._top + side)
        cols = slice(left - self._left, left - self._left + side)
        return self._whole[0][rows, cols], self._whole[1][rows, cols]

    def _resampled(self, left: int, top: int, width: int, height: int) -> tuple[FloatImage, Mask]:
        """Return a window of pre on the grid of post, and where it is valid."""
        warped = WarpedRaster(self._pre, self._transform, (height, width), offset=(top, left))
        return warped.read_with_validity(slice(0, height), slice(0, width))
