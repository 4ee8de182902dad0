"""Held-out zones: squares of post that belong to the certificate alone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import Mask
from exo2micro.alignment.subpixel import CLUSTER_PX, MARGIN

# Tiles of the certificate at the default of `interior_blur_base`, less on small images.
TILE_PX = 80
SMALLEST_TILE_PX = 32
SMALLEST_SIDE_PER_TILE = 12.0
CELLS = 320
# One cell in four holds a zone, in a pattern where these cells never share a side and cover the
# sample evenly.
PERIOD = 4
STEP = 2
# A zone is this many tiles wide where its cell is larger: room to pick the best-textured place.
TILES_PER_ZONE = 2


@dataclass(frozen=True)
class HeldOutZones:
    """Squares on a lattice over post, fixed by its shape alone.

    No pixel of a zone enters a fit or a choice between fits; the certificate's tiles lie inside
    the zones with everything that they read of post.

    Attributes
    ----------
    shape : tuple of int
        ``(ny, nx)`` of post.
    cells : tuple of int
        Lattice cells along y and x.
    side : int
        Side of the zones, pixels.
    """

    shape: tuple[int, int]
    cells: tuple[int, int]
    side: int

    @classmethod
    def of(cls, shape: tuple[int, int]) -> "HeldOutZones":
        """Lay the lattice over an image."""
        ny, nx = shape
        least = 2 * (whole_tile(TILE_PX, shape) // 2 + MARGIN)
        cell = max(least, int(np.sqrt(ny * nx / CELLS)))
        cells = (max(1, ny // cell), max(1, nx // cell))
        smallest = min(ny // cells[0], nx // cells[1])
        return cls(shape, cells, min(TILES_PER_ZONE * least, smallest))

    @property
    def cell_px(self) -> float:
        """Side of a lattice cell."""
        ny, nx = self.shape
        return float(np.sqrt(ny * nx / (self.cells[0] * self.cells[1])))

    @property
    def spacing_px(self) -> float:
        """Typical distance between zones."""
        return float(np.sqrt(PERIOD)) * self.cell_px

    @property
    def largest_tile_px(self) -> int:
        """Side of the largest tile that fits into a zone with its margins."""
        return (self.side - 2 * MARGIN) // CLUSTER_PX * CLUSTER_PX

    def corners(self) -> NDArray[np.intp]:
        """Return the first row and column of every zone, shape ``(n, 2)``."""
        tops, lefts = (self._starts(axis) for axis in (0, 1))
        i, j = np.mgrid[: self.cells[0], : self.cells[1]]
        held = _is_held_out(i, j)
        return np.column_stack([tops[i[held]], lefts[j[held]]])

    def hidden(self, rows: slice, cols: slice, factor: int = 1) -> Mask:
        """Return which pixels of a window hold light of a zone.

        Parameters
        ----------
        rows, cols : slice
            Window in the pixels of an overview.
        factor : int
            Block side of the overview.
        """
        lines, columns = (
            [cells[part] for cells in _cells_along(self, axis, factor, part.stop)]
            for axis, part in enumerate((rows, cols))
        )
        out = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.bool_)
        for i in lines:
            for j in columns:
                out |= ((i >= 0)[:, None] & (j >= 0)) & _is_held_out(i[:, None], j)
        return out

    def _starts(self, axis: int) -> NDArray[np.intp]:
        """Return the first pixel of the zone in every cell of an axis."""
        count, length = self.cells[axis], self.shape[axis]
        edges = np.arange(count + 1) * length // count
        return np.asarray(edges[:-1] + (np.diff(edges) - self.side) // 2, np.intp)

    def cell_of(self, axis: int, pixels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the lattice cell in whose zone a pixel's row or column lies, -1 between zones."""
        starts = self._starts(axis)
        cell = np.searchsorted(starts, pixels, side="right") - 1
        inside = (cell >= 0) & (pixels < starts[cell] + self.side)
        return np.where(inside, cell, -1)


def _cells_along(zones: HeldOutZones, axis: int, factor: int, least: int) -> list[NDArray[np.intp]]:
    """Return the cell in whose zone the first and the last pixel of each overview pixel lies."""
    count = max(least, -(-zones.shape[axis] // factor))
    return _cached_cells(zones, axis, factor, count)


@lru_cache(maxsize=16)
def _cached_cells(
    zones: HeldOutZones, axis: int, factor: int, count: int
) -> list[NDArray[np.intp]]:
    pixels = np.arange(count) * factor
    ends = (0,) if factor == 1 else (0, factor - 1)
    return [zones.cell_of(axis, pixels + end) for end in ends]


def _is_held_out(row: NDArray[np.intp], col: NDArray[np.intp]) -> Mask:
    """Return which cells of the lattice hold a zone."""
    held: Mask = (row + STEP * col) % PERIOD == 0
    return held


def whole_tile(wanted_px: float, shape: tuple[int, int]) -> int:
    """Return a tile side: what is wanted, less on small images, in whole clusters of pixels."""
    side = min(wanted_px, min(shape) / SMALLEST_SIDE_PER_TILE)
    return max(SMALLEST_TILE_PX, int(side / CLUSTER_PX) * CLUSTER_PX)
