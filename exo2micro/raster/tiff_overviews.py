"""The overviews of a TIFF, gathered while the image is written, of which few rows are in memory."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from exo2micro._typing import Image
from exo2micro.raster.stream import (
    OVERVIEW_STEP,
    TILE,
    Band,
    Predictor,
    as_type,
    encode_tiles,
)
from exo2micro.raster.windows import block_mean

_SMALLEST_OVERVIEW = 256


def overview_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the shapes of the overviews of an image, largest first."""
    shapes = []
    ny, nx = shape
    while max(ny, nx) > _SMALLEST_OVERVIEW:
        ny, nx = -(-ny // OVERVIEW_STEP), -(-nx // OVERVIEW_STEP)
        shapes.append((ny, nx))
    return shapes


class Overviews:
    """The overviews of one image; use it as a context manager.

    The largest one waits in a spool file, encoded: a TIFF writer takes it after the image. The
    others, 1/256 of the image and less, are kept as pixels.

    Parameters
    ----------
    spool : Path
        The spool file.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    dtype : numpy.dtype
        Type of its pixels.
    predictor : Predictor
        How tiles are encoded.
    """

    def __init__(
        self, spool: Path, shape: tuple[int, int], dtype: np.dtype[Any], predictor: Predictor
    ) -> None:
        self.shapes = overview_shapes(shape)
        self._spool, self._predictor = spool, predictor
        self._sizes: list[int] = []
        self._row = 0
        width = self.shapes[0][1] if self.shapes else 0
        self._pixels = np.zeros((TILE, width), dtype)
        self._second = np.zeros(self.shapes[1], dtype) if len(self.shapes) > 1 else None

    def __enter__(self) -> Self:
        self._file = self._spool.open("w+b")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._spool.unlink(missing_ok=True)

    def add(self, band: Band) -> None:
        """Take what a band holds in reduced form; bands come in order."""
        if not self.shapes:
            return
        row = band.rows.start // OVERVIEW_STEP
        if row - self._row >= TILE:
            self._flush()
        if band.reduced is not None:
            col = band.cols.start // OVERVIEW_STEP
            height, width = band.reduced.shape
            self._pixels[row - self._row : row - self._row + height, col : col + width] = (
                band.reduced
            )

    def levels(self) -> Iterator[tuple[tuple[int, int], Iterator[bytes]]]:
        """Yield shape and tiles of each overview, largest first, after the last band."""
        if not self.shapes:
            return
        self._flush()
        self._file.seek(0)
        yield self.shapes[0], (self._file.read(size) for size in self._sizes)
        level = self._second
        for number, shape in enumerate(self.shapes[1:]):
            if number and level is not None:
                level = as_type(block_mean(level, OVERVIEW_STEP), level.dtype)
            if level is not None:
                yield shape, self._tiles_in(level)

    def _flush(self) -> None:
        """Encode a row of tiles of the largest overview, and reduce it for the next."""
        rows = self._pixels[: min(TILE, self.shapes[0][0] - self._row)]
        for tile in encode_tiles(rows, self._predictor):
            self._sizes.append(len(tile))
            self._file.write(tile)
        if self._second is not None:
            reduced = as_type(block_mean(rows, OVERVIEW_STEP), rows.dtype)
            start = self._row // OVERVIEW_STEP
            self._second[start : start + len(reduced)] = reduced
        self._row += TILE
        self._pixels.fill(0)

    def _tiles_in(self, image: Image) -> Iterator[bytes]:
        for row in range(0, len(image), TILE):
            yield from encode_tiles(image[row : row + TILE], self._predictor)
