"""Microbes on the post-stain image, tile by tile: clustered along cracks and grain boundaries."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from scipy import optimize

from exo2micro._typing import FloatImage
from exo2micro.synthetic.bodies import (
    BODY_DTYPE,
    FOOTPRINT_LEVEL,
    Bodies,
    flux_per_peak,
    profile,
    reach_px,
)
from exo2micro.synthetic.camera import tile_generator
from exo2micro.synthetic.rock import KNOT, TILE
from exo2micro.synthetic.spec import PairSpec

CellWeights = Callable[[int, int], FloatImage]
"""Returns, for a tile of the post image, the weight of each 4 px cell, shape ``(64, 64)``."""

_STREAM = 3
_DEBRIS_KEY = 0x5EED0004
_SAMPLED_TILES = 160
_SAMPLED_BODIES = 1000
_CACHED_TILES = 2048
_ROD_SHARE = 0.42
_FILAMENT_SHARE = 0.06
_PEAK_SPREAD = 0.55
_EVENING = 2.5
_LEAST_POWER = 0.4
_DEBRIS_LIGHT = 4.0
"""Height of debris over the full scale, so that its core is saturated."""


class Microbes:
    """The microbes of a pair, known tile by tile.

    The number in a 4 px cell follows its weight; the weights' common factor is solved for so that
    the expected covered area (Boolean model: ``1 - exp(-density * mean area)``) is the coverage.

    Parameters
    ----------
    spec : PairSpec
        Coverage, brightness, size of the post image.
    weights : callable
        Cell weights of a post tile; zero off the rock and outside the image.
    """

    def __init__(self, spec: PairSpec, weights: CellWeights) -> None:
        self.spec = spec
        self._cell_weights = weights
        self._factor: float | None = None
        self._tiles: OrderedDict[tuple[int, int], Bodies] = OrderedDict()
        self._lock = threading.Lock()

    def tile(self, row: int, column: int) -> Bodies:
        """Return the microbes whose centres lie in a post tile; none outside the image."""
        last_row, last_column = (-(-size // TILE) - 1 for size in self.spec.shape)
        if not (0 <= row <= last_row and 0 <= column <= last_column) or self.spec.coverage == 0:
            return np.zeros(0, BODY_DTYPE)
        with self._lock:
            found = self._tiles.get((row, column))
            if self._factor is None:
                self._factor = self._solve_factor()
        if found is not None:
            return found
        made = self._make(row, column, self._factor)
        with self._lock:
            self._tiles[row, column] = made
            while len(self._tiles) > _CACHED_TILES:
                self._tiles.popitem(last=False)
        return made

    def around(self, row: int, column: int) -> Bodies:
        """Return the microbes of a post tile and of its eight neighbours."""
        steps = (-1, 0, 1)
        return np.concatenate([self.tile(row + i, column + j) for i in steps for j in steps])

    def _weights(self, row: int, column: int) -> FloatImage:
        """Return the cell weights, evened out where crowded slides leave no room for clusters."""
        power = max(1.0 - _EVENING * self.spec.coverage, _LEAST_POWER)
        return np.asarray(self._cell_weights(row, column) ** np.float32(power), np.float32)

    def _make(self, row: int, column: int, factor: float) -> Bodies:
        weights = self._weights(row, column).ravel().astype(np.float64)
        total = float(weights.sum())
        rng = tile_generator(self.spec, _STREAM, row, column)
        count = int(np.floor(factor * total * KNOT**2 + rng.random()))
        if count == 0 or total == 0:
            return np.zeros(0, BODY_DTYPE)
        cell = np.searchsorted(np.cumsum(weights) / total, rng.random(count), side="right")
        cell = np.minimum(cell, weights.size - 1)
        bodies = random_bodies(self.spec, count, rng)
        side = TILE // KNOT
        jitter = rng.random((2, count)) * KNOT
        bodies["y"] = row * TILE + (cell // side) * KNOT + jitter[0] - 0.5
        bodies["x"] = column * TILE + (cell % side) * KNOT + jitter[1] - 0.5
        return bodies

    def _solve_factor(self) -> float:
        """Return microbes per px^2 at weight one that give the coverage on sampled tiles."""
        n_rows, n_columns = (-(-size // TILE) for size in self.spec.shape)
        numbers = np.unique(
            np.linspace(0, n_rows * n_columns - 1, _SAMPLED_TILES).round().astype(np.int64)
        )
        weights = np.concatenate(
            [self._weights(*divmod(int(n), n_columns)).ravel() for n in numbers]
        ).astype(np.float64)
        weights = weights[weights > 0]
        if weights.size == 0:
            return 0.0
        weights *= mean_area(self.spec)

        def excess(log_factor: float) -> float:
            covered = -np.expm1(-np.exp(log_factor) * weights)
            return float(covered.mean()) - self.spec.coverage

        return float(np.exp(optimize.brentq(excess, -60.0, 60.0)))


def random_bodies(spec: PairSpec, count: int, rng: np.random.Generator) -> Bodies:
    """Return microbes of random kind, size, direction and brightness at the origin."""
    bodies = np.zeros(count, BODY_DTYPE)
    is_rod = rng.random(count) < _ROD_SHARE
    radius = 0.75 * np.exp(0.3 * rng.standard_normal(count))
    bodies["sigma"] = np.hypot(spec.psf_pair[1], np.clip(radius, 0.3, 1.8))
    length = rng.uniform(3.0, 8.0, count)
    length = np.where(rng.random(count) < _FILAMENT_SHARE, rng.uniform(12, 30, count), length)
    bodies["length"] = np.where(is_rod, length, 0.0)
    bodies["angle"] = rng.uniform(0, np.pi, count)
    bodies["kind"] = np.where(is_rod, "rod", "blob")
    spread = np.clip(_PEAK_SPREAD * rng.standard_normal(count), -1.4, 1.6)
    bodies["peak"] = spec.microbe_peak * spec.rock_brightness * spec.ratio * np.exp(spread)
    bodies["flux"] = bodies["peak"] * flux_per_peak(bodies["sigma"], bodies["length"])
    return bodies


def mean_area(spec: PairSpec) -> float:
    """Return the mean footprint of a microbe, px^2."""
    rng = np.random.default_rng(_STREAM)
    bodies = random_bodies(spec, _SAMPLED_BODIES, rng)
    bodies["x"], bodies["y"] = rng.random((2, _SAMPLED_BODIES))
    reach = reach_px(bodies)
    pixels = 0
    for half in np.unique(reach).tolist():
        part = bodies[reach == half]
        grid = np.arange(-half, half + 1)
        lines = np.broadcast_to(grid, (part.size, grid.size))
        pixels += int((profile(part, lines, lines) >= FOOTPRINT_LEVEL).sum())
    return pixels / bodies.size


def random_debris(spec: PairSpec) -> Bodies:
    """Return saturated dust grains and fibres anywhere on the post image."""
    rng = np.random.default_rng((_DEBRIS_KEY, spec.seed, spec.variant))
    count = spec.saturated_debris
    bodies = np.zeros(count, BODY_DTYPE)
    unit = min(spec.shape) / 1500
    is_fibre = rng.random(count) < 0.4
    bodies["x"] = rng.uniform(0, spec.shape[1], count)
    bodies["y"] = rng.uniform(0, spec.shape[0], count)
    width = np.where(is_fibre, rng.uniform(0.8, 2, count), rng.uniform(2, 9, count))
    bodies["sigma"] = np.hypot(spec.psf_pair[1], width * np.clip(unit, 0.3, 2))
    length = np.where(is_fibre, rng.uniform(60, 260, count), rng.uniform(5, 30, count))
    bodies["length"] = length * np.clip(unit, 0.1, 2)
    bodies["angle"] = rng.uniform(0, np.pi, count)
    bodies["kind"] = np.where(is_fibre, "fibre", "dust")
    bodies["peak"] = _DEBRIS_LIGHT * spec.full_scale
    bodies["flux"] = bodies["peak"] * flux_per_peak(bodies["sigma"], bodies["length"])
    return bodies
