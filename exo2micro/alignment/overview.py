"""Overviews: reduced copies of a raster, read once and shared by all coarse steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

from exo2micro._typing import FloatImage
from exo2micro.raster import ArrayRaster, Raster
from exo2micro.raster.windows import block_mean, map_ordered, row_bands

Derived = TypeVar("Derived")

# Longest side of the largest overview that is kept: 64 MiB of float32 at most.
LARGEST_OVERVIEW_PX = 4096
BAND_ROWS = 512


@dataclass(frozen=True, eq=False)
class Overviews:
    """Reduced copies of one raster, all made from one pass over it.

    Attributes
    ----------
    raster : Raster
        The image.
    base_factor : int
        Block side of the largest overview, a power of 2.
    base : numpy.ndarray of float32
        The largest overview.
    """

    raster: Raster
    base_factor: int
    base: FloatImage
    _reduced: dict[int, FloatImage] = field(default_factory=dict)
    _derived: dict[tuple[str, int], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, raster: Raster, base_factor: int, threads: int) -> "Overviews":
        """Read a raster once, by bands, and keep it reduced by `base_factor`."""
        reduce = partial(_reduced_band, raster, base_factor)
        height = base_factor * max(1, BAND_ROWS // base_factor)
        bands = list(map_ordered(reduce, row_bands(raster.shape[0], height), threads))
        return cls(raster, base_factor, np.concatenate(bands))

    def at(self, factor: int) -> FloatImage:
        """Return the overview of block side `factor`, a multiple of `base_factor`."""
        if factor % self.base_factor:
            msg = f"overview factor must be a multiple of {self.base_factor}, got {factor}"
            raise ValueError(msg)
        if factor not in self._reduced:
            self._reduced[factor] = block_mean(self.base, factor // self.base_factor)
        return self._reduced[factor]

    def derived(self, factor: int, make: Callable[[FloatImage], Derived]) -> Derived:
        """Return what a function makes of an overview, made once."""
        key = (f"{make.__module__}.{make.__qualname__}", factor)
        if key not in self._derived:
            self._derived[key] = make(self.at(factor))
        made: Derived = self._derived[key]
        return made

    def level(self, factor: int) -> Raster:
        """Return the raster itself for factor 1, else the overview as a raster."""
        return self.raster if factor == 1 else ArrayRaster(self.at(factor))

    def factor_for(self, longest_px: float) -> int:
        """Return the smallest factor that makes the longer side at most `longest_px`."""
        step = -(-max(self.raster.shape) // int(longest_px * self.base_factor))
        return self.base_factor * max(1, step)


def make_overviews(post: Raster, pre: Raster, threads: int) -> tuple[Overviews, Overviews]:
    """Return overviews of both images with the same base factor."""
    factor = 1
    while max(*post.shape, *pre.shape) > factor * LARGEST_OVERVIEW_PX:
        factor *= 2
    return Overviews.of(post, factor, threads), Overviews.of(pre, factor, threads)


def _reduced_band(raster: Raster, factor: int, rows: slice) -> FloatImage:
    """Return one band of a raster reduced by block averages."""
    return block_mean(raster.read(rows, slice(0, raster.shape[1])), factor)
