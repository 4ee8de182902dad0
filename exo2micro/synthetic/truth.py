"""Everything known about a synthetic pair."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exo2micro._typing import FloatImage, Mask, Points
from exo2micro.raster import Raster
from exo2micro.synthetic.bodies import Bodies
from exo2micro.synthetic.mapping import Matrix
from exo2micro.synthetic.rock import TILE
from exo2micro.synthetic.sample import Sample
from exo2micro.synthetic.spec import PairSpec
from exo2micro.synthetic.tiles import collect, fill_window, tile_points

_RATIO_PIXELS = 4_000_000
_RATIO_BAND = 128
_ROUGH_EDGE_PIXELS = 64_000_000
_BOOL = np.dtype(np.bool_)

PointTest = Callable[[NDArray[np.float64], NDArray[np.float64]], Mask]


class Truth:
    """The exact truth of a pair, in post-stain pixels unless it says otherwise.

    Planes are methods that take ``(rows, cols)`` slices and return that window; without
    arguments they return the whole plane, shape ``(ny, nx)``.

    Parameters
    ----------
    spec : PairSpec
        What was asked for.
    sample : Sample
        Scene, mapping and microbes.
    post : Raster
        The post image.
    """

    def __init__(self, spec: PairSpec, sample: Sample, post: Raster) -> None:
        self.spec = spec
        self._sample = sample
        self._post = post

    @property
    def matrix(self) -> Matrix:
        """The 3 x 3 homography from post to pre pixels; a deformation comes on top of it."""
        return self._sample.mapping.matrix.copy()

    def mapping(self, points: Points) -> Points:
        """Return the pre-stain points, shape ``(n, 2)``, of post-stain points as (x, y) rows."""
        return self._sample.mapping(points)

    def inverse(self, points: Points) -> Points:
        """Return the post-stain points of pre-stain points, both ``(n, 2)``."""
        return self._sample.mapping.inverse(points)

    def ratio(self, points: Points) -> NDArray[np.float64]:
        """Return the local background ratio post/pre at post points, shape ``(n,)``."""
        points = np.asarray(points, np.float64)
        return self._sample.ratio(points[:, 0], points[:, 1])

    @cached_property
    def scale(self) -> float:
        """Median local ratio over the overlap.

        Exact if the ratio is constant. Else the median over pixels of `overlap_mask`: every pixel
        up to 4 Mpx, an even grid of 4 million beyond; above 64 Mpx the roughness of the rock's
        edge is left out.
        """
        if self._sample.has_constant_ratio:
            return self.spec.ratio
        ny, nx = self.spec.shape
        step = max(1, math.ceil(math.sqrt(ny * nx / _RATIO_PIXELS)))
        is_small = ny * nx <= _ROUGH_EDGE_PIXELS
        in_overlap = self._sample.in_overlap if is_small else self._sample.in_outline
        ratios = []
        for start in range(0, ny, _RATIO_BAND * step):
            y, x = np.mgrid[start : min(start + _RATIO_BAND * step, ny) : step, 0:nx:step]
            x, y = x.astype(np.float64), y.astype(np.float64)
            ratios.append(self._sample.ratio(x, y)[in_overlap(x, y)])
        return float(np.median(np.concatenate(ratios)))

    @property
    def offset(self) -> float:
        """Counts left when ``scale * pre`` is taken from the post background."""
        return self.spec.pedestal - self.scale * self.spec.pre_pedestal

    @property
    def gain(self) -> float:
        """Shot-noise variance per count of light."""
        return self.spec.noise[0]

    @property
    def read_noise(self) -> float:
        """Standard deviation of the read noise, counts."""
        return self.spec.noise[1]

    @cached_property
    def microbes(self) -> Bodies:
        """All microbes: structured array with x, y, flux, peak, sigma, length, angle, kind."""
        n_rows, n_columns = (-(-size // TILE) for size in self.spec.shape)
        tile = self._sample.microbes.tile
        return np.concatenate([tile(i, j) for i in range(n_rows) for j in range(n_columns)])

    @property
    def debris(self) -> Bodies:
        """Saturated dust and fibres, same columns as `microbes`."""
        return self._sample.debris.copy()

    def background(self, rows: slice | None = None, cols: slice | None = None) -> FloatImage:
        """Return the noise-free post image without microbes and debris, with the pedestal."""
        light = self._plane(self._sample.post_background, rows, cols, np.dtype(np.float32))
        return light + np.float32(self.spec.pedestal)

    def pre_brightness(self, points: Points) -> NDArray[np.float32]:
        """Return the scene in counts at real pre-stain points; no vignetting, no pedestal."""
        points = np.asarray(points, np.float64)
        return self._sample.pre_scene.brightness(points[:, 0], points[:, 1])

    def microbe_mask(self, rows: slice | None = None, cols: slice | None = None) -> Mask:
        """Return where a microbe has at least a fifth of its peak."""
        return self._plane(lambda i, j: self._sample.microbe_layers(i, j)[1], rows, cols, _BOOL)

    def debris_mask(self, rows: slice | None = None, cols: slice | None = None) -> Mask:
        """Return where debris adds light that can be noticed."""
        return self._plane(lambda i, j: self._sample.debris_layers(i, j)[1], rows, cols, _BOOL)

    def sample_mask(self, rows: slice | None = None, cols: slice | None = None) -> Mask:
        """Return where the post image shows rock."""
        return self._plane(_on_tiles(self._sample.on_rock), rows, cols, _BOOL)

    def overlap_mask(self, rows: slice | None = None, cols: slice | None = None) -> Mask:
        """Return where the post image shows rock that the pre image shows too."""
        return self._plane(_on_tiles(self._sample.in_overlap), rows, cols, _BOOL)

    def saturated(self, rows: slice | None = None, cols: slice | None = None) -> Mask:
        """Return where the post image is at the top of its range."""
        rows, cols = fill_window(rows, cols, self.spec.shape)
        return np.asarray(self._post.read(rows, cols) >= self.spec.full_scale, np.bool_)

    def _plane(
        self,
        tile: Callable[[int, int], NDArray[Any]],
        rows: slice | None,
        cols: slice | None,
        dtype: np.dtype[Any],
    ) -> NDArray[Any]:
        rows, cols = fill_window(rows, cols, self.spec.shape)
        return collect(tile, rows, cols, dtype)


def _on_tiles(test: PointTest) -> Callable[[int, int], Mask]:
    """Return a function that applies a test of points to the pixels of a tile."""
    return lambda row, column: test(*tile_points(row, column))
