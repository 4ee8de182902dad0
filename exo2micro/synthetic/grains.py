"""Grains: a power diagram of hashed seed points, evaluated on a window."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage
from exo2micro.synthetic.lattice import IndexArray, UintArray, hash_lattice, uniform

Places = NDArray[np.float64]

_SEED_SPREAD = 0.7
"""Seeds lie in the middle 70 % of their cell."""

_WEIGHT = 0.25
"""Largest weight of a seed in squared cells; it makes grains differ in size."""

_REACH_CELLS = 1.31
"""Seeds further than this cannot own a pixel: its own cell's seed is within sqrt(2) * 0.85 cells,
and ``1.31**2 - 0.25`` exceeds that squared."""

_LARGEST_BLOCK = 68
"""Largest side of the blocks within which the few seeds that matter are compared."""

_OWNER_BITS = 10
_OWNER_MASK = np.int32((1 << _OWNER_BITS) - 1)


@dataclass(frozen=True)
class Grains:
    """Which grain each pixel of a window belongs to.

    Attributes
    ----------
    owner : numpy.ndarray of intp
        Shape ``(ny, nx)``, the index of the grain, below 1024.
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
        makes boundaries irregular.
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
    margin = slack + int(_REACH_CELLS * cell) + 1
    seed_y, seed_x, bits = _seeds(origin, (ny, nx), cell, margin, key, period)
    weight = np.float32(_WEIGHT * cell * cell) * uniform(bits, 3).ravel()
    x = np.add(warp_x, np.arange(nx, dtype=np.float32), dtype=np.float32)
    y = np.add(warp_y, np.arange(ny, dtype=np.float32)[:, None], dtype=np.float32)
    first = np.full((ny, nx), np.iinfo(np.int32).max, np.int32)
    second = first.copy()
    side = min(_LARGEST_BLOCK, 2 * cell)
    for top, left in product(range(0, ny, side), range(0, nx, side)):
        block = (slice(top, top + side), slice(left, left + side))
        _compare(x[block], y[block], (seed_x, seed_y, weight), first[block], second[block])
    owner = (first & _OWNER_MASK).astype(np.intp)
    edge = (second & ~_OWNER_MASK).view(np.float32) - (first & ~_OWNER_MASK).view(np.float32)
    edge *= np.float32(0.5 / cell)
    draws = np.stack([uniform(bits, 10 + k).ravel() for k in range(n_draws)])
    return Grains(owner, edge, draws)


def _compare(
    x: FloatImage,
    y: FloatImage,
    seeds: tuple[Places, Places, FloatImage],
    first: NDArray[np.int32],
    second: NDArray[np.int32],
) -> None:
    """Fill in the least and second least power distance of a block.

    Positive floats are ordered as their bits are, so distances are compared as integers whose
    lowest bits name the seed: one minimum finds both the distance and the owner.
    """
    seed_x, seed_y, weight = seeds
    near_x, far_x = _distance_range(seed_x, float(x.min()), float(x.max()))
    near_y, far_y = _distance_range(seed_y, float(y.min()), float(y.max()))
    nearest, farthest = near_x**2 + near_y**2 - weight, far_x**2 + far_y**2 - weight
    # A seed matters only if it can come before the second of those that are near everywhere.
    candidates = np.flatnonzero(nearest <= np.partition(farthest, 1)[1])
    lift = weight.max()
    least, after = np.array(first), np.array(second)
    for seed in candidates.tolist():
        distance = x - np.float32(seed_x[seed])
        distance *= distance
        dy = y - np.float32(seed_y[seed])
        dy *= dy
        distance += dy
        distance += lift - weight[seed]
        tagged = distance.view(np.int32)
        tagged &= ~_OWNER_MASK
        tagged |= np.int32(seed)
        np.minimum(after, np.maximum(least, tagged), out=after)
        np.minimum(least, tagged, out=least)
    first[...], second[...] = least, after


def _distance_range(places: Places, low: float, high: float) -> tuple[Places, Places]:
    """Return the least and largest distance of places from an interval, along one axis."""
    nearest = np.maximum(np.maximum(low - places, places - high), 0.0)
    return nearest, np.maximum(np.abs(places - low), np.abs(places - high))


def _seeds(
    origin: tuple[int, int],
    shape: tuple[int, int],
    cell: int,
    margin: int,
    key: int,
    period: int,
) -> tuple[Places, Places, UintArray]:
    """Return y and x of the seeds relative to the window, and their random bits."""
    rows = _cells(origin[0] - margin, origin[0] + shape[0] + margin, cell)
    cols = _cells(origin[1] - margin, origin[1] + shape[1] + margin, cell)
    bits = hash_lattice(rows, cols, key, period // cell if period else 0)
    seed_y = _places(rows[:, None], uniform(bits, 1), cell) - origin[0]
    seed_x = _places(cols[None, :], uniform(bits, 2), cell) - origin[1]
    return seed_y.ravel(), seed_x.ravel(), bits


def _cells(start: int, stop: int, cell: int) -> IndexArray:
    return np.arange(start // cell, stop // cell + 1, dtype=np.int64)


def _places(cells: IndexArray, draws: FloatImage, cell: int) -> Places:
    """Return seed coordinates along one axis, px."""
    inside = (1 - _SEED_SPREAD) / 2 + _SEED_SPREAD * draws.astype(np.float64)
    return np.asarray((cells + inside) * cell, np.float64)
