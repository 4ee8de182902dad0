"""The scale of every tile for itself, with its error."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from exo2micro.subtraction.blocks import Blocks
from exo2micro.subtraction.regression import LineFit, robust_weights
from exo2micro.subtraction.statistics import Vector, tile_sums

TILE_FLOOR: Final = 0.003
"""Error of one tile's ratio that the noise does not explain: registration, faint microbes."""

MIN_BLOCKS: Final = 4


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


def tile_scales(blocks: Blocks, line: LineFit, field: Vector) -> TileScales:
    """Return the scale of each tile that has at least four background blocks.

    Parameters
    ----------
    blocks : Blocks
        Background blocks.
    line : LineFit
        The line through all of them.
    field : numpy.ndarray
        Relative ratio expected at each block; the result holds it again.
    """
    n_tiles = int(blocks.tile.max()) + 1 if len(blocks) else 0
    pre, post = field * (blocks.pre - line.pre_pedestal), blocks.post - line.intercept
    instrument = field * np.maximum(blocks.level - line.pre_pedestal, 1e-6)
    residual = post - line.scale * pre
    weights = robust_weights(_without_tile_median(residual, blocks.tile), blocks)
    top = tile_sums(weights * instrument * post, blocks.tile, n_tiles)
    bottom = tile_sums(weights * instrument * pre, blocks.tile, n_tiles)
    variance = tile_sums(weights * instrument**2, blocks.tile, n_tiles)
    number = tile_sums(np.ones(len(blocks)), blocks.tile, n_tiles)
    use = np.nonzero((number >= MIN_BLOCKS) & (top > 0) & (bottom > 0) & (variance > 0))[0]
    total = np.maximum(number[use], 1)
    expected = tile_sums(np.log(field), blocks.tile, n_tiles)[use] / total
    return TileScales(
        use,
        np.log(top[use] / bottom[use] / line.scale) + expected,
        np.hypot(np.sqrt(variance[use]) / bottom[use] / line.scale, TILE_FLOOR),
        tile_sums(blocks.x, blocks.tile, n_tiles)[use] / total,
        tile_sums(blocks.y, blocks.tile, n_tiles)[use] / total,
    )


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
