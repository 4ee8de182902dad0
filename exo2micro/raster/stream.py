"""One pass over an image that feeds all its files: bands in order, encoded in threads."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import imagecodecs
import numpy as np

from exo2micro._typing import Image
from exo2micro.raster.base import Raster
from exo2micro.raster.windows import block_mean, map_ordered, row_bands

TILE = 512
"""Side of the square tiles of all files, in pixels; a multiple of `OVERVIEW_STEP`."""

PART = 8 * TILE
"""Columns of a band that one thread works on at a time."""

OVERVIEW_STEP = 4
"""Each overview is this much smaller than the one before."""

_DEFLATE_LEVEL = 1  # measured: higher levels halve the speed for 2 % less disk


@dataclass(frozen=True)
class EncodedTile:
    """A tile of a companion plane that was compressed where it was computed.

    Attributes
    ----------
    content : bytes
        The compressed tile.
    step : float
        Pixel values are whole multiples of it.
    """

    content: bytes
    step: float


Plane = Image | tuple[EncodedTile, ...]
"""Pixels of a plane in a window, or its encoded tiles from left to right."""


class PlaneSource(Protocol):
    """An image with companion planes, all of one shape, read by row bands."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    extent: tuple[slice, slice]

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Plane]:
        """Return the window of every plane; the image itself, in pixels, is called ``data``."""


class RasterSource:
    """A plain raster as a source with one plane."""

    def __init__(self, raster: Raster) -> None:
        self.shape = raster.shape
        self.dtype = raster.dtype
        self.extent = raster.extent
        self._raster = raster

    def read_planes(self, rows: slice, cols: slice) -> Mapping[str, Plane]:
        """Return the window as the only plane."""
        return {"data": self._raster.read(rows, cols)}


@dataclass(frozen=True)
class Band:
    """Some rows of an image, full canvas width left out where it is known to be empty.

    Attributes
    ----------
    rows, cols : slice
        Canvas window that `planes` covers; `rows` is always the whole band.
    planes : mapping
        Pixels or encoded tiles by plane name; empty where the band is known to be all zero.
    tiles : tuple
        Encoded TIFF tiles over the full canvas width; an empty one has no bytes.
    reduced : numpy.ndarray or None
        The band reduced by `OVERVIEW_STEP`, over `cols`.
    """

    rows: slice
    cols: slice
    planes: Mapping[str, Plane]
    tiles: tuple[bytes, ...]
    reduced: Image | None


Sink = Callable[[Band], None]


def stream_bands(source: PlaneSource, *, threads: int, encode: bool) -> Iterator[Band]:
    """Yield the bands of a source in order, read and encoded in threads.

    The threads work on parts of a band, so that few bands exist at once, whatever their number.
    """
    ny, nx = source.shape
    extent_rows, extent_cols = source.extent
    cols = slice(extent_cols.start // TILE * TILE, min(nx, -(-extent_cols.stop // TILE) * TILE))
    parts = [slice(x, min(x + PART, cols.stop)) for x in range(cols.start, cols.stop, PART)]
    bands = list(row_bands(ny, TILE))
    filled = [r for r in bands if r.stop > extent_rows.start and r.start < extent_rows.stop]
    windows = ((rows, part) for rows in filled for part in parts)

    def load(window: tuple[slice, slice]) -> Band:
        planes = source.read_planes(*window)
        if not encode:
            return Band(*window, planes, (), None)
        data = pixels_of(planes["data"])
        reduced = as_type(block_mean(data, OVERVIEW_STEP), data.dtype)
        return Band(*window, planes, _encode_tiles(data), reduced)

    with closing(map_ordered(load, windows, threads)) as loaded:
        for rows in bands:
            if parts and rows in filled:
                yield _joined(rows, cols, [next(loaded) for _ in parts], nx)
            else:
                yield Band(rows, cols, {}, (b"",) * -(-nx // TILE), None)


def _joined(rows: slice, cols: slice, parts: Sequence[Band], nx: int) -> Band:
    """Return one band from its parts from left to right; its tiles span the canvas."""
    planes = {
        name: _side_by_side([part.planes[name] for part in parts]) for name in parts[0].planes
    }
    tiles = tuple(tile for part in parts for tile in part.tiles)
    reduced = [part.reduced for part in parts if part.reduced is not None]
    if tiles:
        before = cols.start // TILE
        after = -(-nx // TILE) - before - len(tiles)
        tiles = (b"",) * before + tiles + (b"",) * after
    return Band(rows, cols, planes, tiles, np.concatenate(reduced, axis=1) if reduced else None)


def _side_by_side(planes: Sequence[Plane]) -> Plane:
    if len(planes) == 1:
        return planes[0]
    if isinstance(planes[0], tuple):
        return tuple(tile for plane in planes for tile in plane)
    return np.concatenate([pixels_of(plane) for plane in planes], axis=1)


def feed(bands: Iterator[Band], sinks: Sequence[Sink]) -> Iterator[Band]:
    """Pass each band to all sinks, in order, and hand it on."""
    for band in bands:
        for sink in sinks:
            sink(band)
        yield band


def drain(bands: Iterator[Band]) -> None:
    """Run an iterator of bands to its end."""
    deque(bands, maxlen=0)


def pixels_of(plane: Plane) -> Image:
    """Return a plane that is known to be handed on as pixels."""
    assert not isinstance(plane, tuple)
    return plane


def encode_tile(tile: Image) -> bytes:
    """Return one tile as TIFF stores it: whole `TILE` x `TILE` block, Deflate."""
    block = np.ascontiguousarray(tile)
    if tile.shape != (TILE, TILE):
        block = np.zeros((TILE, TILE), tile.dtype)
        block[: tile.shape[0], : tile.shape[1]] = tile
    # Any object with the buffer interface will do; only the stub names a few.
    return bytes(imagecodecs.deflate_encode(block.data, _DEFLATE_LEVEL))  # type: ignore[arg-type]


def _encode_tiles(data: Image) -> tuple[bytes, ...]:
    tiles = (data[:, start : start + TILE] for start in range(0, data.shape[1], TILE))
    return tuple(encode_tile(tile) if tile.any() else b"" for tile in tiles)


def as_type(values: Image, dtype: np.dtype[Any]) -> Image:
    """Return averaged values in an image's own type, rounded where that is an integer."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    return np.rint(values).astype(dtype)
