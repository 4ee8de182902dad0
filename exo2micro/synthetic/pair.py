"""A synthetic pre/post pair: two rasters read by window, and the exact truth about them."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from exo2micro._typing import FloatImage, Image
from exo2micro.raster import Raster
from exo2micro.synthetic.camera import (
    POST_STREAM,
    PRE_STREAM,
    expose,
    noise_variance,
    tile_generator,
)
from exo2micro.synthetic.sample import Sample
from exo2micro.synthetic.spec import PairSpec
from exo2micro.synthetic.tiles import TileFunction, collect, fill_window
from exo2micro.synthetic.truth import Truth

_CACHED_TILES = 512


class SyntheticRaster(Raster):
    """One image of a synthetic pair, made tile by tile when it is read.

    A window gives the same pixels as the whole image, to the bit: each pixel is always made as
    part of the same 256 x 256 tile.

    Parameters
    ----------
    spec : PairSpec
        The pair.
    shape : tuple of int
        ``(ny, nx)`` of this image.
    signal : callable
        Returns the light of a tile in counts, pedestal left out, shape ``(256, 256)``.
    pedestal : float
        Counts added to the light.
    stream : int
        Number of this image's noise stream.
    """

    def __init__(
        self,
        spec: PairSpec,
        shape: tuple[int, int],
        signal: TileFunction,
        pedestal: float,
        stream: int,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(np.uint8 if spec.bits == 8 else np.uint16)
        self.pedestal = pedestal
        self._spec = spec
        self._signal = signal
        self._stream = stream
        self._tiles: OrderedDict[tuple[int, int], Image] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, rows: slice, cols: slice) -> Image:
        """Return the window as the camera saw it."""
        return collect(self.tile, rows, cols, self.dtype)

    def noise_free(self, rows: slice | None = None, cols: slice | None = None) -> FloatImage:
        """Return the expected counts (light plus pedestal), neither rounded nor clipped."""
        rows, cols = fill_window(rows, cols, self.shape)
        light = collect(self._signal, rows, cols, np.dtype(np.float32))
        return light + np.float32(self.pedestal)

    def variance(self, rows: slice | None = None, cols: slice | None = None) -> FloatImage:
        """Return the variance of the camera's noise: ``gain * light + read_noise**2``.

        Rounding to whole counts adds 1/12; clipped pixels vary less.
        """
        return noise_variance(self.noise_free(rows, cols) - np.float32(self.pedestal), self._spec)

    def tile(self, row: int, column: int) -> Image:
        """Return the 256 x 256 tile; at the far edges it goes on beyond the image."""
        key = (row, column)
        with self._lock:
            found = self._tiles.get(key)
        if found is not None:
            return found
        rng = tile_generator(self._spec, self._stream, row, column)
        made = expose(self._signal(row, column), self.pedestal, self._spec, rng)
        made.flags.writeable = False
        with self._lock:
            self._tiles[key] = made
            while len(self._tiles) > _CACHED_TILES:
                self._tiles.popitem(last=False)
        return made


@dataclass(frozen=True)
class SyntheticPair:
    """A pair of images of one sample.

    Attributes
    ----------
    spec : PairSpec
        What was asked for.
    post, pre : SyntheticRaster
        The signal channel after and before staining.
    truth : Truth
        Everything known about the pair.
    """

    spec: PairSpec
    post: SyntheticRaster
    pre: SyntheticRaster
    truth: Truth


def make_pair(spec: PairSpec) -> SyntheticPair:
    """Return the pair that a specification describes; pixels are made when they are read."""
    sample = Sample(spec)
    pre = SyntheticRaster(
        spec, spec.full_pre_shape, sample.pre_light, spec.pre_pedestal, PRE_STREAM
    )
    post = SyntheticRaster(spec, spec.shape, sample.post_light, spec.pedestal, POST_STREAM)
    return SyntheticPair(spec, post, pre, Truth(spec, sample, post))


def unrelated_pair(spec: PairSpec) -> tuple[SyntheticRaster, SyntheticRaster]:
    """Return (post, pre) of two different samples, which must never register."""
    other = replace(spec, seed=spec.seed + 1_000_003)
    return make_pair(other).post, make_pair(spec).pre
