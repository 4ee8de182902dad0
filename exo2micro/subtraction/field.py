"""How the brightness ratio varies over the canvas: tile by tile, and as a smooth surface."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.patches import PATCH_PX
from exo2micro.subtraction.regression import LineFit, robust_weights
from exo2micro.subtraction.statistics import Vector, tile_sums, tukey_weights

DEGREE: Final = 2
"""Degree of the surface: tilt and bowl, what illumination and bleaching usually do."""

MIN_TILES: Final = 12
"""Tiles below which no surface is fitted."""

SIGNIFICANT: Final = 16.0
"""Drop of chi-squared per term of the surface that makes it real: four standard deviations."""

SIGNIFICANT_TILES: Final = 2.5
"""Chi-squared per tile from which tiles deviate from the surface on their own."""

RIDGE: Final = 1e-5
"""Weight of a flat surface over that of the data: only keeps the fit solvable."""

TILE_FLOOR: Final = 0.003
"""Error of one tile's ratio that the noise does not explain: registration, faint microbes."""


@dataclass(frozen=True)
class RatioField:
    """Relative brightness ratio, a polynomial in the canvas coordinates.

    Attributes
    ----------
    coefficients : numpy.ndarray
        Of ``log(field)``, one per term; all zero for a flat field.
    origin : numpy.ndarray
        ``(y, x)`` of the patches, shape ``(n, 2)``.
    centre, extent : tuple of float
        ``(x, y)`` that map to 0, and the px that map to 1.
    """

    coefficients: Vector
    origin: NDArray[np.int64]
    centre: tuple[float, float]
    extent: float

    @classmethod
    def flat(cls, origin: NDArray[np.int64]) -> "RatioField":
        """Return the field that is 1 everywhere."""
        low, high = origin.min(axis=0), origin.max(axis=0) + PATCH_PX
        middle = (low + high) / 2.0
        extent = float(max(high - low)) / 2.0
        return cls(np.zeros(_n_terms()), origin, (float(middle[1]), float(middle[0])), extent)

    @property
    def is_flat(self) -> bool:
        """True if the ratio does not vary significantly."""
        return not self.coefficients.any()

    def at(self, x: Vector, y: Vector) -> Vector:
        """Return the relative ratio at points of the canvas."""
        return np.asarray(np.exp(self.terms(x, y) @ self.coefficients), dtype=np.float64)

    def of_patches(self) -> Vector:
        """Return the relative ratio at the centre of each patch."""
        middle = self.origin.astype(np.float64) + PATCH_PX / 2.0
        return self.at(middle[:, 1], middle[:, 0])

    def terms(self, x: Vector, y: Vector) -> NDArray[np.float64]:
        """Return the polynomial terms at points, shape ``(n, n_terms)``; no constant."""
        u, v = (x - self.centre[0]) / self.extent, (y - self.centre[1]) / self.extent
        columns = [
            u**i * v ** (total - i) for total in range(1, DEGREE + 1) for i in range(total, -1, -1)
        ]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class TileScales:
    """Ratio of each tile relative to the whole.

    Attributes
    ----------
    tile : numpy.ndarray of int
        Numbers of the tiles that have one.
    log_ratio, error : numpy.ndarray
        Logarithm of the relative ratio and its standard error.
    x, y : numpy.ndarray
        Mean position of its blocks, px.
    """

    tile: NDArray[np.intp]
    log_ratio: Vector
    error: Vector
    x: Vector
    y: Vector

    def deviations(self, field: RatioField, n_tiles: int) -> Vector:
        """Return what the surface leaves of each tile's log-ratio, shape ``(n_tiles,)``.

        Zero for tiles without a ratio, and everywhere unless the rest is significant; shrunk
        by the share of its variance that is noise.
        """
        out = np.zeros(n_tiles)
        if len(self.tile) < MIN_TILES:
            return out
        rest = self.log_ratio - np.log(field.at(self.x, self.y))
        rest -= np.median(rest)
        scaled = rest / self.error
        if float(np.mean(np.square(np.clip(scaled, -8.0, 8.0)))) < SIGNIFICANT_TILES:
            return out
        spread = float(np.quantile(np.abs(rest), 0.683))
        excess = max(0.0, spread**2 - float(np.median(np.square(self.error))))
        out[self.tile] = rest * excess / (excess + np.square(self.error))
        return out


def tile_scales(blocks: Blocks, line: LineFit) -> TileScales:
    """Return the scale of each tile that has at least four background blocks."""
    n_tiles = int(blocks.tile.max()) + 1 if len(blocks) else 0
    pre, post = blocks.pre - line.pre_pedestal, blocks.post - line.intercept
    instrument = np.maximum(blocks.level - line.pre_pedestal, 1e-6)
    residual = post - line.scale * pre
    weights = robust_weights(_without_tile_median(residual, blocks.tile), blocks)
    top = tile_sums(weights * instrument * post, blocks.tile, n_tiles)
    bottom = tile_sums(weights * instrument * pre, blocks.tile, n_tiles)
    variance = tile_sums(weights * instrument**2, blocks.tile, n_tiles)
    number = tile_sums(np.ones(len(blocks)), blocks.tile, n_tiles)
    use = np.nonzero((number >= 4) & (top > 0) & (bottom > 0) & (variance > 0))[0]
    total = np.maximum(number[use], 1)
    return TileScales(
        use,
        np.log(top[use] / bottom[use] / line.scale),
        np.hypot(np.sqrt(variance[use]) / bottom[use] / line.scale, TILE_FLOOR),
        tile_sums(blocks.x, blocks.tile, n_tiles)[use] / total,
        tile_sums(blocks.y, blocks.tile, n_tiles)[use] / total,
    )


def fit_field(blocks: Blocks, line: LineFit, current: RatioField) -> RatioField:
    """Return the smooth surface through the tiles' ratios, flat where none is significant."""
    flat = RatioField(np.zeros_like(current.coefficients), *_frame(current))
    tiles = tile_scales(blocks, line)
    if len(tiles.tile) < MIN_TILES:
        return flat
    design = np.column_stack([np.ones(len(tiles.tile)), flat.terms(tiles.x, tiles.y)])
    weights = 1.0 / tiles.error**2
    values = tiles.log_ratio
    solution = np.zeros(design.shape[1])
    robust = np.ones(len(values))
    for _ in range(10):
        w = weights * robust
        ridge = RIDGE * w.sum() * np.diag(np.r_[0.0, np.ones(design.shape[1] - 1)])
        normal = design.T @ (w[:, None] * design) + ridge
        solution = np.linalg.solve(normal, design.T @ (w * values))
        scaled = (values - design @ solution) / tiles.error
        spread = max(1.0, 1.4826 * float(np.median(np.abs(scaled))))
        robust = tukey_weights(scaled / spread)
    w = weights * robust / spread**2
    mean = float(np.sum(w * values) / np.sum(w))
    drop = float(np.sum(w * (values - mean) ** 2) - np.sum(w * (values - design @ solution) ** 2))
    if drop < SIGNIFICANT * (design.shape[1] - 1):
        return flat
    return RatioField(solution[1:], *_frame(current))


def _without_tile_median(residual: Vector, tile: NDArray[np.int32]) -> Vector:
    """Return the residuals about the median of their tile."""
    order = np.lexsort((residual, tile))
    sorted_tile = tile[order]
    starts = np.r_[0, np.nonzero(np.diff(sorted_tile))[0] + 1]
    ends = np.r_[starts[1:], len(tile)]
    medians = residual[order][(starts + ends - 1) // 2]
    out = np.empty_like(residual)
    out[order] = residual[order] - np.repeat(medians, ends - starts)
    return out


def _frame(field: RatioField) -> tuple[NDArray[np.int64], tuple[float, float], float]:
    return field.origin, field.centre, field.extent


def _n_terms() -> int:
    return sum(total + 1 for total in range(1, DEGREE + 1))
