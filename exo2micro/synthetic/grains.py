"""Grains: a power diagram of hashed seed points, evaluated on a window."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.synthetic.lattice import IndexArray, UintArray, hash_lattice, uniform

_SEED_SPREAD = 0.7
"""Seeds lie in the middle 70 % of their cell."""

_WEIGHT = 0.25
"""Largest weight of a seed in squared cells; it makes grains differ in size."""

_REACH_CELLS = 1.31
"""Seeds further than this cannot own a pixel: its own cell's seed is within sqrt(2) * 0.85 cells,
and ``1.31**2 - 0.25`` exceeds that squared."""

_FAR = np.float32(1e9)


@dataclass(frozen=True)
class Grains:
    """Which grain each pixel of a window belongs to.

    Attributes
    ----------
    owner : numpy.ndarray of intp
        Shape ``(ny, nx)``, the index of the grain.
    edge_distance : numpy.ndarray of float32
        Shape ``(ny, nx)``, distance to the boundary of the grain, px, approximate.
    draws : numpy.ndarray of float32
        Shape ``(k, n)``: k independent uniform numbers for each of the n grains.
    """

    owner: NDArray[np.intp]
    edge_distance: FloatImage
    draws: NDArray[np.float32]


def find_grains(
    warp_x: FloatImage,
    warp_y: FloatImage,
    origin: tuple[int, int],
    cell: int,
    key: int,
    period: int = 0,
    n_draws: int = 5,
) -> Grains:
    """Assign the pixels of a window to grains.

    Parameters
    ----------
    warp_x, warp_y : numpy.ndarray of float32
        Shape ``(ny, nx)``, displacement of each pixel before the grains are looked up, px, which
        makes boundaries irregular; at most a quarter of a cell plus 32 px.
    origin : tuple of int
        ``(y, x)`` of the window's first pixel.
    cell : int
        Mean grain size, px.
    key : int
        Which diagram.
    period : int
        If > 0, the diagram repeats after so many px.
    n_draws : int
        Random numbers per grain.
    """
    ny, nx = warp_x.shape
    slack = int(max(np.abs(warp_x).max(), np.abs(warp_y).max())) + 1
    reach = int(_REACH_CELLS * cell)
    rows, seed_y, cols, seed_x, bits = _seeds(origin, (ny, nx), cell, reach + slack, key, period)
    x = warp_x + np.arange(nx, dtype=np.float32)
    y = warp_y + np.arange(ny, dtype=np.float32)[:, None]
    first = np.full((ny, nx), _FAR)
    second = np.full((ny, nx), _FAR)
    owner = np.zeros((ny, nx), np.intp)
    weight = (_WEIGHT * cell * cell) * uniform(bits, 3)
    n_columns = cols.size
    for i in range(rows.size):
        for j in range(n_columns):
            cy, cx = float(seed_y[i, j]), float(seed_x[i, j])
            top, bottom = max(0, int(cy) - reach - slack), min(ny, int(cy) + reach + slack)
            left, right = max(0, int(cx) - reach - slack), min(nx, int(cx) + reach + slack)
            if top >= bottom or left >= right:
                continue
            window = (slice(top, bottom), slice(left, right))
            distance = x[window] - np.float32(cx)
            distance *= distance
            dy = y[window] - np.float32(cy)
            dy *= dy
            distance += dy
            distance -= weight[i, j]
            nearest = first[window]
            np.copyto(owner[window], i * n_columns + j, where=distance < nearest)
            np.minimum(second[window], np.maximum(nearest, distance), out=second[window])
            np.minimum(nearest, distance, out=nearest)
    second -= first
    second *= np.float32(0.5 / cell)
    draws = np.stack([uniform(bits, 10 + k).ravel() for k in range(n_draws)])
    return Grains(owner, second, draws)


def _seeds(
    origin: tuple[int, int],
    shape: tuple[int, int],
    cell: int,
    margin: int,
    key: int,
    period: int,
) -> tuple[IndexArray, NDArray[np.float64], IndexArray, NDArray[np.float64], UintArray]:
    """Return cell rows, seed y, cell columns, seed x (both relative to the window) and bits."""
    rows = _cells(origin[0] - margin, origin[0] + shape[0] + margin, cell)
    cols = _cells(origin[1] - margin, origin[1] + shape[1] + margin, cell)
    bits = hash_lattice(rows, cols, key, period // cell if period else 0)
    seed_y = _places(rows[:, None], uniform(bits, 1), cell) - origin[0]
    seed_x = _places(cols[None, :], uniform(bits, 2), cell) - origin[1]
    return rows, seed_y, cols, seed_x, bits


def _cells(start: int, stop: int, cell: int) -> IndexArray:
    return np.arange(start // cell, stop // cell + 1, dtype=np.int64)


def _places(cells: IndexArray, draws: FloatImage, cell: int) -> NDArray[np.float64]:
    """Return seed coordinates along one axis, px."""
    inside = (1 - _SEED_SPREAD) / 2 + _SEED_SPREAD * draws.astype(np.float64)
    return np.asarray((cells + inside) * cell, np.float64)
