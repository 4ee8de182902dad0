"""Averages over small blocks: less noise, and little harm from sub-pixel shifts."""

from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask
from exo2micro.subtraction.patches import HALO_PX, PATCH_PX, PatchStack
from exo2micro.subtraction.statistics import Vector

BLOCK_PX: Final = 8
"""Block side: noise falls by 8, a shift of 0.3 px moves 4 % of a block, the halo is one block."""


@dataclass(frozen=True)
class Blocks:
    """Block averages over chosen pixels; all arrays have shape ``(n,)``.

    Attributes
    ----------
    post, pre : numpy.ndarray
        Mean counts over the chosen pixels.
    pixels : numpy.ndarray
        Number of chosen pixels.
    level : numpy.ndarray
        Mean of pre over the eight neighbouring blocks: tells how bright the place is without
        using the noise of the block itself.
    tile : numpy.ndarray of int32
        Number of the patch.
    x, y : numpy.ndarray
        Block centres on the canvas, px.
    """

    post: Vector
    pre: Vector
    pixels: Vector
    level: Vector
    tile: NDArray[np.int32]
    x: Vector
    y: Vector

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.post)

    def times(self, unit: float) -> "Blocks":
        """Return the blocks with all brightness multiplied."""
        return replace(self, post=self.post * unit, pre=self.pre * unit, level=self.level * unit)

    def take(self, chosen: NDArray[Any]) -> "Blocks":
        """Return the chosen blocks, by mask or by index."""
        return Blocks(
            self.post[chosen],
            self.pre[chosen],
            self.pixels[chosen],
            self.level[chosen],
            self.tile[chosen],
            self.x[chosen],
            self.y[chosen],
        )


def block_averages(stack: PatchStack, sample: Mask, chosen: Mask, min_fraction: float) -> Blocks:
    """Average the chosen pixels of every block.

    Parameters
    ----------
    stack : PatchStack
        The patches.
    sample : numpy.ndarray of bool
        Pixels on the sample; they give `level`.
    chosen : numpy.ndarray of bool
        Pixels to average, a part of `sample`.
    min_fraction : float
        Blocks with a smaller fraction of chosen pixels are left out.
    """
    area = float(BLOCK_PX**2)
    share = _reduce(chosen.astype(np.float32))
    post = _reduce(np.where(chosen, stack.post, np.float32(0)))
    pre = _reduce(np.where(chosen, stack.pre, np.float32(0)))
    level = _neighbour_level(stack, sample)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    keep = (share[inner] >= min_fraction - 1e-6) & np.isfinite(level[inner])
    patch, row, col = np.nonzero(keep)
    at = (patch, row + 1, col + 1)
    weight = share[at].astype(np.float64)
    centre = (BLOCK_PX - 1) / 2.0
    return Blocks(
        post[at] / weight,
        pre[at] / weight,
        np.rint(weight * area),
        level[at].astype(np.float64),
        patch.astype(np.int32),
        stack.origin[patch, 1] + BLOCK_PX * col + centre,
        stack.origin[patch, 0] + BLOCK_PX * row + centre,
    )


def _reduce(image: FloatImage) -> FloatImage:
    """Return block means of a stack, shape ``(n, blocks, blocks)`` with one block of halo."""
    side = (PATCH_PX + 2 * HALO_PX) // BLOCK_PX
    tall = cv2.resize(image, (side, image.shape[0] // BLOCK_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(tall.reshape(-1, side, side), dtype=np.float32)


def _neighbour_level(stack: PatchStack, sample: Mask) -> FloatImage:
    """Return the mean of pre over the neighbours of each block, NaN where they lack sample."""
    weight = _reduce(sample.astype(np.float32))
    total = _reduce(np.where(sample, stack.pre, np.float32(0)))
    sums = []
    for image in (weight, total):
        around = np.zeros_like(image)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if dy or dx:
                    rolled = np.roll(image, (dy, dx), axis=(1, 2))
                    around += rolled
        sums.append(around)
    with np.errstate(invalid="ignore", divide="ignore"):
        level: FloatImage = np.where(sums[0] >= 2.0, sums[1] / sums[0], np.float32(np.nan))
    return level
