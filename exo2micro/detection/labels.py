"""The label image: which pixel belongs to which row of the table."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Image
from exo2micro.detection.search import Found
from exo2micro.raster.base import Raster
from exo2micro.raster.mapping import release_pages


class LabelStore(Raster):
    """Labels gathered window by window in an unnamed file; a raster once they are sorted.

    Parameters
    ----------
    shape : tuple of int
        Canvas ``(ny, nx)``.
    folder : Path
        Where the file lies; it vanishes with this object, and costs only the pixels of objects
        where the file system knows holes.
    """

    def __init__(self, shape: tuple[int, int], folder: Path) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint32)
        with tempfile.TemporaryFile(dir=folder) as file:  # the map keeps it until it goes
            file.truncate(shape[0] * shape[1] * self.dtype.itemsize)
            self._map = np.memmap(file, self.dtype, "r+", shape=shape)
        self._count = 0
        self._numbers: NDArray[np.uint32] = np.zeros(1, np.uint32)

    def add(self, found: Found) -> None:
        """Enter the objects of one window."""
        own = found.footprints > 0
        rows, cols = np.nonzero(own)
        numbers = found.footprints[own].astype(np.uint32) + np.uint32(self._count)
        self._map[rows + found.rows.start, cols + found.cols.start] = numbers
        release_pages(self._map)
        self._count += found.columns["row"].size

    def sort(self, order: NDArray[np.intp]) -> None:
        """Give new numbers: the object entered as ``order[i]`` becomes ``i + 1``."""
        self._numbers = np.zeros(order.size + 1, np.uint32)
        self._numbers[order + 1] = np.arange(1, order.size + 1)

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window: 0, or the ``id`` of a table's row."""
        window = self._map[rows, cols]
        labels: Image = (
            self._numbers[window] if window.any() else np.zeros(window.shape, self.dtype)
        )
        release_pages(self._map)
        return labels
