"""PreviewRaster: a raster seen through a transform, for looking at rather than for measuring."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from exo2micro._typing import FloatImage, Image
from exo2micro.alignment.transform import Transform
from exo2micro.alignment.warp import WarpedRaster
from exo2micro.raster import Raster
from exo2micro.raster.stream import as_type

if TYPE_CHECKING:
    from numpy.typing import NDArray


class PreviewRaster(WarpedRaster):
    """Another raster seen through a transform, by bilinear interpolation, in its own pixel type.

    It takes a quarter of the time of `WarpedRaster` and a third of its space on disk. Bilinear
    interpolation blurs, by an amount that depends on the sub-pixel phase, which OpenCV before 5
    rounds to 1/32 px: good to look at an alignment that is right to a pixel.

    Parameters
    ----------
    source, transform, shape, offset, grid
        As for `WarpedRaster`.
    """

    def __init__(
        self,
        source: Raster,
        transform: Transform,
        shape: tuple[int, int],
        offset: tuple[int, int] = (0, 0),
        grid: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(source, transform, shape, offset, grid)
        self.dtype = source.dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window in the source's pixel type, 0 where it is not valid."""
        return as_type(super().read(rows, cols), self.dtype)

    def _resampled(
        self,
        x: "NDArray[np.float64]",
        y: "NDArray[np.float64]",
        rows: slice,
        cols: slice,
    ) -> FloatImage:
        ny, nx = self.source.shape
        wide = slice(rows.start, min(rows.stop + 1, ny)), slice(cols.start, min(cols.stop + 1, nx))
        window = self.source.read(*wide).astype(np.float32)
        places = (x - cols.start).astype(np.float32), (y - rows.start).astype(np.float32)
        seen = cv2.remap(window, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen, np.float32)
