"""Putting windows together from fixed tiles."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.raster.windows import map_ordered
from exo2micro.synthetic.rock import TILE

TileFunction = Callable[[int, int], NDArray[Any]]
"""Returns tile ``(row, column)``, shape ``(256, 256)``, also where it goes on beyond the image."""

_THREADS = 2


def fill_window(
    rows: slice | None, cols: slice | None, shape: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the window, the whole image where None is given."""
    return rows or slice(0, shape[0]), cols or slice(0, shape[1])


def tile_points(row: int, column: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the pixels of a tile, each of shape ``(256, 256)``."""
    steps = np.arange(TILE, dtype=np.float64)
    x, y = np.meshgrid(column * TILE + steps, row * TILE + steps)
    return x, y


def collect(tile: TileFunction, rows: slice, cols: slice, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the window ``[rows, cols]`` put together from tiles, made two at a time."""
    out = np.empty((rows.stop - rows.start, cols.stop - cols.start), dtype)
    if out.size == 0:
        return out
    numbers = list(
        product(
            range(rows.start // TILE, (rows.stop - 1) // TILE + 1),
            range(cols.start // TILE, (cols.stop - 1) // TILE + 1),
        )
    )
    made = map_ordered(lambda key: tile(*key), numbers, _THREADS if len(numbers) > 1 else 1)
    for (row, column), source in zip(numbers, made, strict=True):
        y, x = row * TILE, column * TILE
        top, bottom = max(rows.start, y), min(rows.stop, y + TILE)
        left, right = max(cols.start, x), min(cols.stop, x + TILE)
        part = source[top - y : bottom - y, left - x : right - x]
        out[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = part
    return out
