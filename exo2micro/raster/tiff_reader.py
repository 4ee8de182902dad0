"""Reading TIFF checkpoints by window, with their stored overviews."""

from pathlib import Path

import tifffile

from exo2micro._typing import FloatImage, Image
from exo2micro.raster.base import Raster
from exo2micro.raster.shared_file import SharedFile
from exo2micro.raster.tiff_segments import PageReader
from exo2micro.raster.windows import block_mean


class TiffCheckpoint(Raster):
    """The first page of a single-channel TIFF and its overviews.

    Parameters
    ----------
    path : Path
        File as `exo2micro.raster.tiff.write_tiff` makes it.
    cache_bytes : int, optional
        Decoded tiles kept per level; by default as many as passes over the image need.

    Raises
    ------
    tifffile.TiffFileError
        If the file is no TIFF with one channel.
    RawReadError
        If it is truncated.
    """

    def __init__(self, path: Path, cache_bytes: int | None = None) -> None:
        with tifffile.TiffFile(path) as file:
            pages = [level.keyframe for level in file.series[0].levels]
        if pages[0].samplesperpixel != 1:
            msg = f"{path} has {pages[0].samplesperpixel} channels; a checkpoint has one"
            raise tifffile.TiffFileError(msg)
        shared = SharedFile(path)
        self._levels = [PageReader(shared, page, cache_bytes=cache_bytes) for page in pages]
        self.shape = self._levels[0].shape
        self.dtype = self._levels[0].dtype

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window; empty tiles are zero."""
        window: Image = self._levels[0].read(rows, cols, (0,))[0]
        return window

    def overview(self, factor: int) -> FloatImage:
        """Return block averages, from the coarsest stored level that divides `factor`."""
        if self._level_of(factor)[0] is self._levels[0]:
            return super().overview(factor)
        ny, nx = (-(-size // factor) for size in self.shape)
        return self.read_reduced(slice(0, ny), slice(0, nx), factor)

    def read_reduced(self, rows: slice, cols: slice, factor: int) -> FloatImage:
        """Return a window of `overview`, from the coarsest stored level that divides `factor`."""
        level, step = self._level_of(factor)
        rest = factor // step
        inner_rows, inner_cols = (
            slice(part.start * rest, min(part.stop * rest, size))
            for part, size in zip((rows, cols), level.shape, strict=True)
        )
        return block_mean(level.read(inner_rows, inner_cols, (0,))[0], rest)

    def _level_of(self, factor: int) -> tuple[PageReader, int]:
        """Return the coarsest level whose step divides `factor`, and its step."""
        for level in reversed(self._levels[1:]):
            step = round(self.shape[0] / level.shape[0])
            exact = tuple(-(-n // step) for n in self.shape) == level.shape
            if exact and factor % step == 0:
                return level, step
        return self._levels[0], 1
