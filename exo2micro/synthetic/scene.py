"""The scene: brightness as a continuous function of pre-stain coordinates."""

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from exo2micro._typing import FloatImage, Mask
from exo2micro.synthetic.rock import KNOT, TILE, RockMaker, SceneTile
from exo2micro.synthetic.spec import PairSpec

CACHED_TILES = 600
"""Tiles kept, about 230 MB: all of a 6000 x 5000 image, or a slanted band across 30 000 px."""

_BLOCK_LIMIT = 8 * TILE
"""Largest side of a block of coefficients that is put together at once, px."""

_ROW_STEP = 1 << 24
"""Makes one number of a tile's row and column."""

Grid = NDArray[np.float64]


class Scene:
    """Brightness of the sample at any real point of the pre-stain frame.

    The brightness is *defined* as a cubic B-spline over coefficients at whole pixels, which are
    made tile by tile from hashed random numbers. So it is known exactly at every point, a mapped
    image needs no interpolation of pixels, and no image is ever held as a whole.

    Parameters
    ----------
    spec : PairSpec
        What the sample looks like.
    psf_px : float
        Standard deviation of the point-spread function, px; the spline is a part of it.
    """

    def __init__(self, spec: PairSpec, psf_px: float) -> None:
        self.rock = RockMaker(spec, psf_px)
        self._tiles: OrderedDict[tuple[int, int], SceneTile] = OrderedDict()
        self._lock = threading.Lock()

    def tile(self, row: int, column: int) -> SceneTile:
        """Return a tile, from memory if it was made lately."""
        key = (row, column)
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
                return found
        made = self.rock.make(row, column)
        with self._lock:
            self._tiles[key] = made
            while len(self._tiles) > CACHED_TILES:
                self._tiles.popitem(last=False)
        return made

    def brightness(self, x: Grid, y: Grid) -> FloatImage:
        """Return the brightness in counts at points; x and y of one shape, which is returned."""
        x, y = np.broadcast_arrays(x, y)
        out = np.empty(x.shape, np.float32)
        for pick, block in self._blocks(x, y):
            top, left, shape = block
            coefficients = self._assemble("coefficients", top, left, shape)
            where = np.stack((y[pick] - top, x[pick] - left))
            out[pick] = ndimage.map_coordinates(
                coefficients, where, order=3, prefilter=False, output=np.float32
            )
        return out

    def is_rock(self, x: Grid, y: Grid) -> Mask:
        """Tell for each point whether its nearest pixel lies on rock."""
        x, y = np.broadcast_arrays(x, y)
        out = np.empty(x.shape, np.bool_)
        for pick, (top, left, shape) in self._blocks(x, y):
            rock = self._assemble("rock", top, left, shape)
            rows, cols = np.rint(y[pick]) - top, np.rint(x[pick]) - left
            out[pick] = rock[rows.astype(np.intp), cols.astype(np.intp)]
        return out

    def habitat(self, x: Grid, y: Grid) -> FloatImage:
        """Return how likely microbes settle at points, in arbitrary units."""
        x, y = np.broadcast_arrays(x, y)
        cell_y, cell_x = np.floor(y / KNOT).astype(np.int64), np.floor(x / KNOT).astype(np.int64)
        side = TILE // KNOT
        out = np.empty(x.shape, np.float32)
        rows, cols = (cell_y // side).ravel(), (cell_x // side).ravel()
        flat_y, flat_x, flat = cell_y.ravel(), cell_x.ravel(), out.ravel()
        numbers = rows * _ROW_STEP + cols
        for number in np.unique(numbers):
            pick = np.flatnonzero(numbers == number)
            row, column = int(rows[pick[0]]), int(cols[pick[0]])
            values = self.tile(row, column).habitat
            flat[pick] = values[flat_y[pick] - row * side, flat_x[pick] - column * side]
        return flat.reshape(out.shape)

    def _blocks(
        self, x: Grid, y: Grid
    ) -> list[tuple[tuple[slice, ...] | NDArray[np.intp] | Mask, tuple[int, int, tuple[int, int]]]]:
        """Group points so that each group needs one small block of coefficients."""
        if x.size == 0:
            return []
        whole = tuple(slice(None) for _ in x.shape)
        bounds = _block_bounds(x, y)
        if max(bounds[2]) <= _BLOCK_LIMIT:
            return [(whole, bounds)]
        side = _BLOCK_LIMIT // 2
        group = np.floor(y / side).astype(np.int64) * _ROW_STEP
        group += np.floor(x / side).astype(np.int64)
        blocks = []
        for number in np.unique(group):
            pick = group == number
            blocks.append((pick, _block_bounds(x[pick], y[pick])))
        return blocks

    def _assemble(
        self, plane: str, top: int, left: int, shape: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return a block of a tile plane that may cross tile borders."""
        bottom, right = top + shape[0], left + shape[1]
        first: NDArray[np.float32] | None = None
        for row in range(top // TILE, (bottom - 1) // TILE + 1):
            for column in range(left // TILE, (right - 1) // TILE + 1):
                source = getattr(self.tile(row, column), plane)
                if first is None:
                    first = np.empty(shape, source.dtype)
                y0, x0 = row * TILE, column * TILE
                low_y, high_y = max(top, y0), min(bottom, y0 + TILE)
                low_x, high_x = max(left, x0), min(right, x0 + TILE)
                first[low_y - top : high_y - top, low_x - left : high_x - left] = source[
                    low_y - y0 : high_y - y0, low_x - x0 : high_x - x0
                ]
        if first is None:
            return np.empty(shape, np.float32)
        return first


def _block_bounds(x: Grid, y: Grid) -> tuple[int, int, tuple[int, int]]:
    """Return top, left and shape of the block with the two knots around every point."""
    top, left = int(np.floor(y.min())) - 2, int(np.floor(x.min())) - 2
    bottom, right = int(np.floor(y.max())) + 4, int(np.floor(x.max())) + 4
    return top, left, (bottom - top, right - left)
