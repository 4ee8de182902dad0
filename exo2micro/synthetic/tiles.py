"""Putting windows together from fixed tiles."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro.synthetic.rock import TILE

TileFunction = Callable[[int, int], NDArray[Any]]
"""Returns tile ``(row, column)``, shape ``(256, 256)``, also where it goes on beyond the image."""


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
    """Return the window ``[rows, cols]`` put together from tiles.

    Threads would not help: making a tile is many short steps that wait for one another.
    """
    out = np.empty((rows.stop - rows.start, cols.stop - cols.start), dtype)
    if out.size == 0:
        return out
    numbers = product(
        range(rows.start // TILE, (rows.stop - 1) // TILE + 1),
        range(cols.start // TILE, (cols.stop - 1) // TILE + 1),
    )
    for row, column in numbers:
        source = tile(row, column)
        y, x = row * TILE, column * TILE
        top, bottom = max(rows.start, y), min(rows.stop, y + TILE)
        left, right = max(cols.start, x), min(cols.stop, x + TILE)
        part = source[top - y : bottom - y, left - x : right - x]
        out[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = part
    return out
