"""Reading tiled TIFF by window, with its stored overviews."""

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import tifffile

from exo2micro._typing import FloatImage, Image
from exo2micro.raster.base import Raster, window_overlap
from exo2micro.raster.windows import block_mean

_CACHED_BYTES = 64 << 20


class TiledTiffRaster(Raster):
    """The first page of a tiled single-channel TIFF; decoded tiles are kept in a small cache.

    Parameters
    ----------
    path : Path
        File as `exo2micro.raster.tiff.write_tiff` makes it.
    level : int
        Resolution level, 0 for the full image.

    Raises
    ------
    tifffile.TiffFileError
        If the file is no TIFF or is truncated.
    """

    def __init__(self, path: Path, level: int = 0) -> None:
        self._file = tifffile.TiffFile(path)
        levels = self._file.series[0].levels
        page = levels[level].keyframe
        if not page.is_tiled or page.samplesperpixel != 1:
            msg = f"{path} is not a tiled single-channel TIFF"
            raise tifffile.TiffFileError(msg)
        self._levels = len(levels)
        self._path = path
        self._page = page
        self.shape = (page.imagelength, page.imagewidth)
        self.dtype = page.dtype.newbyteorder("=")
        self._tile = (page.tilelength, page.tilewidth)
        self._columns = -(-page.imagewidth // page.tilewidth)
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Image] = OrderedDict()
        tile_bytes = self._tile[0] * self._tile[1] * self.dtype.itemsize
        self._cache_size = max(8, _CACHED_BYTES // tile_bytes)

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window; empty tiles are zero."""
        out = np.zeros((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        height, width = self._tile
        for row in range(rows.start // height, -(-rows.stop // height)):
            for col in range(cols.start // width, -(-cols.stop // width)):
                tile = self._tile_at(row * self._columns + col)
                if tile is None:
                    continue
                (into_y, from_y), (into_x, from_x) = (
                    window_overlap(rows, row * height, height),
                    window_overlap(cols, col * width, width),
                )
                out[into_y, into_x] = tile[from_y, from_x]
        return out

    def overview(self, factor: int) -> FloatImage:
        """Return block averages, from the coarsest stored level that divides `factor`."""
        for level in range(self._levels - 1, 0, -1):
            stored = self._file.series[0].levels[level]
            step = round(self.shape[0] / stored.shape[0])
            exact = tuple(-(-n // step) for n in self.shape) == tuple(stored.shape)
            if exact and factor % step == 0:
                coarse = TiledTiffRaster(self._path, level)
                return block_mean(coarse.read_all(), factor // step)
        return super().overview(factor)

    def _tile_at(self, index: int) -> Image | None:
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
            size = self._page.databytecounts[index]
            if size == 0:
                return None
            handle = self._file.filehandle
            handle.seek(self._page.dataoffsets[index])
            encoded = handle.read(size)
        decoded = self._page.decode(encoded, index)[0]
        tile: Image = decoded[0, :, :, 0]
        with self._lock:
            self._cache[index] = tile
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return tile
